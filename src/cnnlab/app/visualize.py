"""`cnnlab visualize`: draw what a network has learned; the pictures go into its run folder."""

from pathlib import Path

from cnnlab import run_folder, session, visualization
from cnnlab.config import PICTURES, Launch, VisualizeConfig
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.inference.probing import pictures_folder, probe_of
from cnnlab.reports import page, sections
from cnnlab.visualization.figures import Picture, save
from cnnlab.visualization.probe import Probe


def run(config: VisualizeConfig, launch: Launch) -> int:
    """Draw the asked-for pictures, print where they are, return 0."""
    if config.checkpoint is None:
        raise UsageError("checkpoint is missing", hint="checkpoint=PATH or checkpoint=latest")
    here = session.begin(config.runtime)
    checkpoint = run_folder.resolve_checkpoint(config.checkpoint)
    stored = open_network(
        checkpoint,
        here.device,
        channels_last=here.channels_last,
        which_weights=config.which_weights,
    )
    folder = pictures_folder(checkpoint) if config.output is None else Path(config.output)

    with session.skip_hint(launch):  # some pictures read further images while they are drawn
        draw(config, stored, folder)
    return 0


def draw(config: VisualizeConfig, stored: StoredNetwork, folder: Path) -> None:
    """Draw the pictures into `folder`, and a page of all of them."""
    probe = probe_of(config, stored)
    console = Console()
    found = {}
    for name in PICTURES if "all" in config.what else config.what:
        if pictures := drawn_or_none(name, stored, probe, config, console):
            found[name] = pictures
            for picture in pictures:
                show_paths(picture, save(picture, folder, config.formats), console)

    title = probe.title("what it has learned")
    all_sections = [sections.pictures(name, found[name]) for name in found]
    path = page.write(folder / "pictures.html", title, all_sections)
    console.line(f"all on one page: {path}")
    console.close()


def drawn_or_none(
    name: str, stored: StoredNetwork, probe: Probe, config: VisualizeConfig, console: Console
) -> list[Picture] | None:
    """Draw one entry of PICTURES.

    With what=all one that this network or run does not support is skipped with a line.
    """
    try:
        return visualization.draw(name, stored.network, probe)
    except UsageError as error:
        if "all" not in config.what:
            raise
        console.line(f"no {name}: {error.what}")
        return None


def show_paths(picture: Picture, paths: list[Path], console: Console) -> None:
    """Print a picture's title, its figures, and its files."""
    console.line(picture.title)
    for name, value in picture.facts.items():
        if isinstance(value, int | float):
            console.line(f"  {name.replace('_', ' ')}: {value:.3g}")
    console.line(f"  {', '.join(str(path) for path in paths)}")
