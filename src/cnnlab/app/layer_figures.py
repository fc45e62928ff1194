"""`cnnlab summary layer=conv ...`: the formulas of one layer, filled in; without torch."""

from dataclasses import asdict, dataclass

from cnnlab import geometry
from cnnlab.config import SummaryConfig
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.geometry import ReceptiveField, Window
from cnnlab.plain_json import json_text
from cnnlab.safe_output import write_out

SYMBOLS = "((H + 2·P - D·(K - 1) - 1)/S + 1)"


@dataclass(frozen=True)
class Figures:
    """The figures of one layer; None and "" where the layer has none or too little is known.

    input_size, output_size: [C, H, W], [H, W] without channels, or [features]. The receptive field
    is that of this layer alone: its size, the distance between the fields of neighboring units,
    and the first column of the first one, all in pixels of the input. overhang_pixels: by which the
    last window extends beyond the edge. unread_pixels: at the same edge, padding included, that no
    window reads.
    """

    layer: str
    input_size: list[int]
    output_size: list[int]
    num_parameters: int | None
    num_multiply_adds: int | None
    size_formula: str = ""
    parameter_formula: str = ""
    multiply_add_formula: str = ""
    receptive_field_pixels: int | None = None
    jump_pixels: int | None = None
    start_pixels: int | None = None
    overhang_pixels: int | None = None
    unread_pixels: int | None = None


def show(config: SummaryConfig) -> int:
    """Print the figures of the layer that `config` describes as text or JSON; return 0."""
    figures = fc_figures(config) if config.layer == "fc" else window_figures(config)
    if config.format == "json":
        write_out(json_text(asdict(figures)))
    else:
        _print(figures, _described(config))
    return 0


def fc_figures(config: SummaryConfig) -> Figures:
    """Return the figures of a fully connected layer: M N weights + M biases."""
    inputs, outputs = config.in_features or 0, config.out_features or 0
    return Figures(
        "fc",
        [inputs],
        [outputs],
        geometry.fc_parameters(inputs, outputs),
        inputs * outputs,
        parameter_formula=f"{inputs}·{outputs} + {outputs}",
        multiply_add_formula=f"{inputs}·{outputs}",
    )


def window_figures(config: SummaryConfig) -> Figures:
    """Return the figures of a convolution or of pooling. Raises UsageError if no window fits."""
    size, window = config.size or 0, window_of(config)
    side = window.output_size(size)
    if side < 1:
        raise UsageError(
            f"the window does not fit: it spans {window.extent} pixels, the input with its "
            f"padding {size + 2 * window.padding}",
            hint="a larger size or padding, or a smaller kernel or dilation",
        )

    field = ReceptiveField().through(window)
    channels = config.in_channels
    outputs = config.out_channels if config.layer == "conv" else channels
    parameters, parameter_formula = _parameters(config)
    adds, add_formula = _multiply_adds(config, side)
    return Figures(
        str(config.layer),
        [*([channels] if channels else []), size, size],
        [*([outputs] if outputs else []), side, side],
        parameters,
        adds,
        window.formula(size),
        parameter_formula,
        add_formula,
        field.size_pixels,
        field.jump_pixels,
        field.start_pixels,
        window.overhang(size),
        window.unread(size),
    )


def window_of(config: SummaryConfig) -> Window:
    """Return the window; without a stride, pooling moves by its kernel's side, as in torch."""
    kernel = config.kernel or 0
    usual = kernel if config.layer == "pool" else 1
    return Window(kernel, config.stride or usual, config.padding, config.dilation, config.ceil)


def _parameters(config: SummaryConfig) -> tuple[int | None, str]:
    """Return the number of parameters and its formula."""
    if config.layer == "pool":
        return 0, ""
    if not config.in_channels or not config.out_channels:
        return None, ""
    kernel, seen, made = config.kernel or 0, config.in_channels, config.out_channels
    return geometry.conv_parameters(seen, made, kernel), f"{made}·{seen}·{kernel}² + {made}"


def _multiply_adds(config: SummaryConfig, side: int) -> tuple[int | None, str]:
    """Return the multiply-adds for one image and their formula: each weight at each position."""
    if config.layer == "pool":
        return 0, ""
    if not config.in_channels or not config.out_channels:
        return None, ""
    kernel, seen, made = config.kernel or 0, config.in_channels, config.out_channels
    return made * seen * kernel**2 * side**2, f"{made}·{seen}·{kernel}²·{side}²"


def _described(config: SummaryConfig) -> str:
    """Return the hyperparameters in words."""
    if config.layer == "fc":
        return f"N = {config.in_features}, M = {config.out_features}"
    window = window_of(config)
    return f"K = {window.kernel}, S = {window.stride}, P = {window.padding}, D = {window.dilation}"


def _print(figures: Figures, described: str) -> None:
    console = Console(progress=False)
    console.line(f"{figures.layer} on {_size(figures.input_size)}: {described}")

    if figures.size_formula:
        rounding = figures.size_formula.partition("(")[0]
        console.line(f"  H' = {rounding}{SYMBOLS}")
        console.line(f"     = {figures.size_formula}")

    rows = [("output size", _size(figures.output_size))]
    for name, number, formula in (
        ("parameters", figures.num_parameters, figures.parameter_formula),
        ("multiply-adds", figures.num_multiply_adds, figures.multiply_add_formula),
    ):
        rows.append((name, _counted(number, formula)))
    rows += _at_the_edges(figures)

    for name, said in rows:
        console.line(f"  {name:<18}  {said}")


def _at_the_edges(figures: Figures) -> list[tuple[str, str]]:
    """Return what is known of a window: its field, and how the last one meets the edge."""
    if figures.receptive_field_pixels is None:
        return []
    field = (
        f"{figures.receptive_field_pixels} pixels, one unit to the next {figures.jump_pixels}, "
        f"the first from pixel {figures.start_pixels}"
    )
    edge = "the last window ends at the edge"
    if figures.overhang_pixels:
        edge = f"the last window extends {figures.overhang_pixels} beyond it"
    elif figures.unread_pixels:
        edge = f"{figures.unread_pixels}, padding included, that no window reads"
    return [("receptive field", field), ("pixels at the edge", edge)]


def _counted(number: int | None, formula: str) -> str:
    """Return a count with its formula, or what it lacks."""
    if number is None:
        return "unknown without in_channels and out_channels"
    return f"{formula} = {number:,}" if formula else f"{number:,}"


def _size(sizes: list[int]) -> str:
    return "x".join(map(str, sizes))
