"""`cnnlab visualize`: draw what a network has learned, into its run folder; and the lecture."""

from pathlib import Path

from cnnlab import run_folder, session, visualization
from cnnlab.config import DATASETS, Launch, VisualizeConfig, pictures
from cnnlab.config.pictures import DRAWINGS, PAGES
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.inference.planning import plan_of, plan_of_model
from cnnlab.inference.probing import checkpoint_label, pictures_folder, probe_of
from cnnlab.playground.page import Subject
from cnnlab.reports import page, sections
from cnnlab.visualization.figures import Picture, save
from cnnlab.visualization.probe import Probe

DRAWINGS_FOLDER = Path(run_folder.BASE) / "lecture"
"""Where drawings go that belong to no run."""


def run(config: VisualizeConfig, launch: Launch) -> int:
    """Draw the asked-for pictures, print where they are, return 0."""
    if config.checkpoint is None:
        return _draw_untrained(config)

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


def _draw_untrained(config: VisualizeConfig) -> int:
    """Draw what needs no checkpoint, and return 0. Raises UsageError if something else is asked."""
    if trained := pictures.of_trained(config.what):
        raise UsageError(
            f"checkpoint is missing: {trained[0]} shows a trained network",
            hint="checkpoint=PATH or checkpoint=latest; what=lecture needs none",
        )

    plan = plan_of_model(config.model)
    found = {name: visualization.draw_plan(name, plan) for name in config.what}
    folder = DRAWINGS_FOLDER if config.output is None else Path(config.output)
    console = Console()
    for drawn in found.values():
        _save_all(drawn, folder, config.formats, console)
    _write_page(found, folder, f"the lecture's drawings \u00b7 {plan.model}", console)
    return 0


def draw(config: VisualizeConfig, stored: StoredNetwork, folder: Path) -> None:
    """Draw the pictures into `folder`, and a page of all of them."""
    console = Console()
    probe = probe_of(config, stored) if pictures.of_trained(config.what) else None
    found = {}
    for name in pictures.drawn(config.what):
        if drawn := _drawn(name, stored, probe, config, console):
            found[name] = drawn
            _save_all(drawn, folder, config.formats, console)

    for name in filter(PAGES.__contains__, config.what):
        assert probe is not None
        path = PAGES[name].load()(_subject(stored, probe), folder)
        console.line(f"{name}: {path} ({path.stat().st_size / 1e6:.1f} MB, open it in a browser)")
    if not found:
        console.close()
        return

    title = probe.title("what it has learned") if probe else f"the lecture \u00b7 {stored.path}"
    _write_page(found, folder, title, console)


def _drawn(
    name: str,
    stored: StoredNetwork,
    probe: Probe | None,
    config: VisualizeConfig,
    console: Console,
) -> list[Picture] | None:
    """Draw one entry of PICTURES, or of DRAWINGS, which need no probe."""
    if name in DRAWINGS:
        plan = plan_of(lambda: stored.network, str(stored.config["model"]["name"]))
        return visualization.draw_plan(name, plan)
    assert probe is not None
    return drawn_or_none(name, stored, probe, config, console)


def _subject(stored: StoredNetwork, probe: Probe) -> Subject:
    """Return what a page shows of a network; pictures are prepared as `cnnlab predict` does."""
    row = DATASETS.get(stored.config["dataset"]["name"])
    is_digits = row is not None and row.is_digits
    return Subject(stored.network, stored.preprocessing, probe, checkpoint_label(stored), is_digits)


def _save_all(drawn: list[Picture], folder: Path, formats: list[str], console: Console) -> None:
    """Write the files of each picture and print their paths."""
    for picture in drawn:
        show_paths(picture, save(picture, folder, formats), console)


def _write_page(
    found: dict[str, list[Picture]], folder: Path, title: str, console: Console
) -> None:
    """Write a page of all pictures and print its path."""
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
            number = f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
            console.line(f"  {name.replace('_', ' ')}: {number}")
    if picture.missing:
        console.line(f"  {picture.missing}")
    console.line(f"  {', '.join(str(path) for path in paths)}")
