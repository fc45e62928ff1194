"""The tables of docs/performance.md, made from the results of run.py, and how a page takes them."""

from pathlib import Path
from typing import Any


def put_between(mark: str, lines: list[str], page: Path) -> None:
    """Replace what stands between `<!-- MARK: begin -->` and `<!-- MARK: end -->` of a page."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = page.read_text()
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(before + "\n".join([begin, *lines, end]) + after)


def render(document: dict[str, Any], source: str, page: Path) -> None:
    """Put the tables between the two marks of `page`."""
    machine = document["machine"]
    lines = [
        f"Measured {machine['time'].replace('T', ' ')} on {machine['cores']} cores of "
        f"{machine['processor']} ({machine['capability']}), torch {machine['torch']}; "
        f"all figures: [{source}](results/{source}).",
    ]
    for kind, name in (("lenet5", "LeNet-5, Fashion-MNIST"), ("alexnet", "AlexNet, 224 pixels")):
        for part in document.get(kind, []):
            lines += ["", *loop_table(part, name)]
    lines += overhead_lines(document.get("overhead"))
    lines += ["", *startup_lines(document.get("startup"))]
    lines += [*target_lines(document.get("target")), *growth_lines(document.get("growth"))]
    lines += layer_lines(document.get("layers")) + compiled_lines(document.get("compiled"))
    lines += memory_lines(document.get("memory"))
    put_between("measured", lines, page)


def loop_table(part: dict[str, Any], name: str) -> list[str]:
    """Return one comparison of loops as a table."""
    title = f"{part.get('model', name)}" if "model" in part else name
    lines = [
        f"**{title}, batch {part['batch_size']}, {part['num_threads']} thread(s)**, "
        f"{part['rounds']} rounds of {part['steps_per_round']} steps; matrix product "
        f"{part['matrix_limit_gflops']:.0f} GFLOP/s"
        + (f"; {part['note']}" if "note" in part else ""),
        "",
        "| loop | images/s | ms a step | its time / ours: median (spread) | of the limit |",
        "|---|---|---|---|---|",
    ]
    for loop, row in part["rows"].items():
        ratio = row["ratio_to_ours"]
        lines.append(
            f"| {loop} | {row['images_per_second']:,.0f} | {row['milliseconds_per_step']:,.2f} "
            f"| {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) "
            f"| {row['share_of_matrix_limit']:.0%} |"
        )
    return lines


def overhead_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the lines about what the framework adds to a step."""
    if part is None:
        return []
    lines = [
        "",
        f"**What the framework costs**, LeNet-5, {part['num_threads']} thread(s), both in one "
        f"process; {part['rounds']} pairs of turns, with quartiles",
        "",
        "| batch | cnnlab, ms a step | same step, bare | cnnlab / bare |",
        "|---|---|---|---|",
    ]
    for row in part["rows"]:
        low, high = row["ratio"]["quartiles"]
        lines.append(
            f"| {row['batch_size']} | {row['cnnlab'] / 1e3:.2f} | {row['bare'] / 1e3:.2f} "
            f"| {row['ratio']['median']:.3f} ({low:.3f} to {high:.3f}) |"
        )
    return lines


def startup_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the line about start-up."""
    if part is None:
        return ["Start-up: not measured in this run."]
    ratio = part["ratio"]
    return [
        f"Start-up: command to first update {part['cnnlab_seconds']:.2f} s, torch and LeNet-5 by "
        f"hand {part['by_hand_seconds']:.2f} s; ratio {ratio['median']:.2f} "
        f"({ratio['min']:.2f} to {ratio['max']:.2f})."
    ]


def memory_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the table of peak memory."""
    if part is None:
        return []
    lines = [
        "",
        "| experiment | peak memory of the process after one update, on a CPU |",
        "|---|---|",
    ]
    return lines + [f"| {name} | {text} |" for name, text in part.items()]


def target_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the table of the time to the target accuracy."""
    if part is None:
        return ["", "Time to 90 % of the validation images: not measured in this run."]
    clock = "processor time" if part["num_threads"] == 1 else "wall clock"
    lines = [
        "",
        f"**Command to {part['accuracy']:.0%} of Fashion-MNIST's validation images right**, "
        f"{part['num_threads']} thread(s), {clock}, seeds {', '.join(map(str, part['seeds']))}",
        "",
        "| program | seconds, seed by seed | epochs |",
        "|---|---|---|",
    ]
    for name, runs in part["runs"].items():
        times = [f"{run['seconds']:.0f}" if run["seconds"] else "never" for run in runs]
        epochs = [str(run["epochs"] or "-") for run in runs]
        lines.append(f"| {name} | {', '.join(times)} | {', '.join(epochs)} |")
    if (ratio := part["ratio"]) is not None:
        found = f"{ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})"
        lines += ["", f"The example's time / cnnlab's: median {found}."]
    return lines


def growth_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the tables of how cost grows."""
    if part is None:
        return []
    batches, judged = part["training"], part["judging"]
    lines = [
        "",
        f"**LeNet-5 as it grows**, {part['num_threads']} thread(s), the best of "
        f"{part['rounds']} rounds",
        "",
        "| batch | " + " | ".join(str(point["batch_size"]) for point in batches) + " |",
        "|---" * (len(batches) + 1) + "|",
    ]
    for title, key, digits in (
        ("images/s", "images_per_second", 0),
        ("ms a step", "milliseconds_per_step", 2),
    ):
        lines.append(f"| {title} | " + " | ".join(f"{p[key]:,.{digits}f}" for p in batches) + " |")
    lines += ["", "| testing: views x members | images/s | microseconds a view |", "|---|---|---|"]
    return lines + [
        f"| {point['views']} x {point['members']} | {point['images_per_second']:,.0f} "
        f"| {point['microseconds_per_view']:.1f} |"
        for point in judged
    ]


def compiled_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the table of steps with and without torch.compile."""
    if part is None:
        return []
    lines = [
        "",
        f"**A step as it is and through torch.compile**, {part['num_threads']} thread(s), "
        f"{part['rounds']} rounds",
        "",
        "| network, batch | as it is, ms | compiled, ms | as it is / compiled | compiling, s |",
        "|---|---|---|---|---|",
    ]
    for row in part["rows"]:
        ratio = row["ratio"]
        lines.append(
            f"| {row['model']}, {row['batch_size']} | {row['eager']:,.2f} | {row['compiled']:,.2f} "
            f"| {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) "
            f"| {row['compiling_seconds']:.0f} |"
        )
    return lines


def layer_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the table of layers computed in turn and together."""
    if part is None:
        return []
    parts = part["parts"]
    rows = {
        name.replace(" together", ""): (parts[name.replace("together", "in turn")], time)
        for name, time in parts.items()
        if "together" in name
    }
    steps = {name: t for name, t in part.items() if name.startswith("step")}
    lines = [
        "",
        f"**LeNet-5's layers in turn and together**, microseconds, batch 64 where it is not said, "
        f"{part['num_threads']} thread(s); parts: median of {part['rounds']} rounds; steps: of "
        f"{15 * part['rounds']} pairs of eight, with quartiles",
        "",
        "| part | in turn | together | in turn / together |",
        "|---|---|---|---|",
    ]
    for name, (turn, together) in rows.items():
        lines.append(f"| {name} | {turn:,.0f} | {together:,.0f} | {turn / together:.2f} |")
    for name, step in steps.items():
        low, high = step["ratio"]["quartiles"]
        lines.append(
            f"| {name} | {step['in turn']:,.0f} | {step['together']:,.0f} "
            f"| {step['ratio']['median']:.2f} ({low:.2f} to {high:.2f}) |"
        )
    return lines
