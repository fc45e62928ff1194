"""The tables of docs/performance.md, made from the results of run.py, and how a page takes them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from head import in_words

Part = dict[str, Any]


def put_between(mark: str, lines: list[str], page: Path) -> None:
    """Replace the lines between `<!-- MARK: begin -->` and `<!-- MARK: end -->` of a page."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = page.read_text()
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(before + "\n".join([begin, *lines, end]) + after)


def render(document: Part, source: str, page: Path) -> None:
    """Write the tables of the parts that were measured between the two marks of `page`."""
    machine = document["machine"]
    days = sorted(time[:10] for time in document["measured"].values() if time[:4].isdecimal())
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    lines = [
        f"Measured {when} on {machine['cores']} cores of "
        f"{machine['processor']} ({machine['capability']}), torch {machine['torch']}; "
        f"all figures: [{source}](results/{source}).",
    ]
    for kind, name in (("lenet5", "LeNet-5, Fashion-MNIST"), ("alexnet", "AlexNet, 224 pixels")):
        for part in document.get(kind, []):
            lines += loop_lines(part, name)
    for kind, section in SECTIONS.items():
        if document.get(kind) is not None:
            lines += section(document[kind])
    put_between("measured", lines, page)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a Markdown table with an empty line before it, and a title if it has one."""
    lines = ["", title] if title else []
    lines += ["", _row(columns), "|---" * len(columns) + "|"]
    return [*lines, *map(_row, rows)]


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _with_quartiles(ratio: dict[str, Any], digits: int) -> str:
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def loop_lines(part: Part, name: str) -> list[str]:
    """Return one comparison of training loops."""
    title = (
        f"**{part.get('model', name)}, batch {part['batch_size']}, {part['num_threads']} "
        f"thread(s)**, {part['rounds']} rounds of {part['steps_per_round']} steps; matrix product "
        f"{part['matrix_limit_gflops']:.0f} GFLOP/s"
    )
    columns = ["loop", "images/s", "ms per step"]
    columns += ["its time / ours: median (spread)", "of the limit"]
    rows = [
        (
            loop,
            *_beside_a_loop(row),
            f"{row['images_per_second']:,.0f}",
            f"{row['milliseconds_per_step']:,.2f}",
            in_words(row["ratio_to_ours"]),
            f"{row['share_of_matrix_limit']:.0%}",
        )
        for loop, row in part["rows"].items()
    ]
    if len(rows[0]) > len(columns):
        columns[1:1] = ["images/s beside a busy loop", "its time / ours there"]
    return table(title, columns, rows)


def _beside_a_loop(row: Part) -> list[str]:
    """Return the two cells of a loop beside a busy one; none where that was not measured."""
    found = row.get("beside_a_busy_loop")
    if found is None:
        return []
    return [f"{found['images_per_second']:,.0f}", in_words(found["ratio_to_ours"])]


def busy_lines(part: Part) -> list[str]:
    """Return the rates of all settings under each load, and the worst case of each."""
    title = (
        f"**Threads and waiting beside busy loops**, {part['num_threads']} threads or one, "
        f"images/s, median of {part['rounds']} rounds of {part['seconds']:g} s; worst case: the "
        "smaller share of the best rate, idle and beside one loop"
    )

    loads = [str(load) for load in part["loads"]]
    columns = ["work", "setting", *(f"{load} loops" for load in loads), "worst case"]
    rows = []
    for work, found in part["works"].items():
        best = max(found["worst_case"].values())
        for setting, rates in found["images_per_second"].items():
            worst = found["worst_case"][setting]
            shown = f"**{worst:.2f}**" if worst == best else f"{worst:.2f}"
            rows.append((work, setting, *(f"{rates[load]:,.0f}" for load in loads), shown))

    worst = part["worst_of_alexnet"]
    told = ", ".join(f"{name} {worst[name]:.2f}" for name in sorted(worst, key=worst.get)[::-1])
    lines = table(title, columns, rows)
    return [*lines, "", f"The worst case over every work of AlexNet: {told}."] if told else lines


def overhead_lines(part: Part) -> list[str]:
    """Return what the framework adds to a step."""
    title = (
        f"**What the framework costs**, LeNet-5, {part['num_threads']} thread(s), both in one "
        f"process; {part['rounds']} pairs of turns, with quartiles"
    )
    columns = ["batch", "cnnlab, ms per step", "same step, bare", "cnnlab / bare"]
    rows = [
        (
            row["batch_size"],
            f"{row['cnnlab'] / 1e3:.2f}",
            f"{row['bare'] / 1e3:.2f}",
            _with_quartiles(row["ratio"], 3),
        )
        for row in part["rows"]
    ]
    return table(title, columns, rows)


def startup_lines(part: Part) -> list[str]:
    """Return the time from the command to the first update."""
    return [
        "",
        f"Start-up: command to first update {part['cnnlab_seconds']:.2f} s, torch and LeNet-5 by "
        f"hand {part['by_hand_seconds']:.2f} s; ratio {in_words(part['ratio'])}.",
    ]


def target_lines(part: Part) -> list[str]:
    """Return the time to the target accuracy."""
    clock = "processor time" if part["num_threads"] == 1 else "wall clock"
    title = (
        f"**Command to {part['accuracy']:.0%} of Fashion-MNIST's validation images right**, "
        f"{part['num_threads']} thread(s), {clock}, seeds {', '.join(map(str, part['seeds']))}"
    )
    rows = []
    for name, runs in part["runs"].items():
        times = [f"{run['seconds']:.0f}" if run["seconds"] else "never" for run in runs]
        epochs = [str(run["epochs"] or "-") for run in runs]
        rows.append((name, ", ".join(times), ", ".join(epochs)))

    lines = table(title, ["program", "seconds, seed by seed", "epochs"], rows)
    if part["ratio"] is not None:
        found = in_words(part["ratio"], digits=1)
        lines += ["", f"The example's time / cnnlab's: median {found}."]
    return lines


def growth_lines(part: Part) -> list[str]:
    """Return how the cost of training and testing scales."""
    batches, tests = part["training"], part["judging"]
    title = (
        f"**LeNet-5 by batch size, views and members**, {part['num_threads']} thread(s), the best "
        f"of {part['rounds']} rounds"
    )
    training = [
        ("images/s", *(f"{point['images_per_second']:,.0f}" for point in batches)),
        ("ms per step", *(f"{point['milliseconds_per_step']:,.2f}" for point in batches)),
    ]
    testing = [
        (
            f"{point['views']} x {point['members']}",
            f"{point['images_per_second']:,.0f}",
            f"{point['microseconds_per_view']:.1f}",
        )
        for point in tests
    ]
    columns = ["testing: views x members", "images/s", "microseconds per view"]
    sizes = ["batch", *(str(point["batch_size"]) for point in batches)]
    return table(title, sizes, training) + table("", columns, testing)


def layer_lines(part: Part) -> list[str]:
    """Return the times of layers computed one by one and fused."""
    title = (
        f"**LeNet-5's layers one by one and fused**, microseconds, batch 64 unless noted, "
        f"{part['num_threads']} thread(s); parts: median of {part['rounds']} rounds; steps: of "
        f"{15 * part['rounds']} pairs of eight, with quartiles"
    )
    parts = part["parts"]
    rows = []
    for name, fused in parts.items():
        if "together" in name:  # the names in the results that are stored
            single = parts[name.replace("together", "in turn")]
            layer = name.replace(" together", "")
            rows.append((layer, f"{single:,.0f}", f"{fused:,.0f}", f"{single / fused:.2f}"))

    for name, step in part.items():
        if name.startswith("step"):
            times = (f"{step['in turn']:,.0f}", f"{step['together']:,.0f}")
            rows.append((name, *times, _with_quartiles(step["ratio"], 2)))

    return table(title, ["part", "one by one", "fused", "one by one / fused"], rows)


def compiled_lines(part: Part) -> list[str]:
    """Return the times of steps with and without torch.compile."""
    title = (
        f"**A step, eager and through torch.compile**, {part['num_threads']} thread(s), "
        f"{part['rounds']} rounds"
    )
    columns = ["network, batch", "eager, ms", "compiled, ms", "eager / compiled", "compiling, s"]
    rows = [
        (
            f"{row['model']}, {row['batch_size']}",
            f"{row['eager']:,.2f}",
            f"{row['compiled']:,.2f}",
            in_words(row["ratio"]),
            f"{row['compiling_seconds']:.0f}",
        )
        for row in part["rows"]
    ]
    return table(title, columns, rows)


def memory_lines(part: Part) -> list[str]:
    """Return the peak memory of each experiment."""
    columns = ["experiment", "peak memory of the process after one update, on a CPU"]
    return table("", columns, part.items())


SECTIONS: dict[str, Callable[[Part], list[str]]] = {
    "busy": busy_lines,
    "overhead": overhead_lines,
    "startup": startup_lines,
    "target": target_lines,
    "growth": growth_lines,
    "layers": layer_lines,
    "compiled": compiled_lines,
    "memory": memory_lines,
}
"""Name of a benchmark -> its part of the page, in the order of the page."""
