"""Fractions as people read them: in percent."""


def percent(fraction: float) -> str:
    """Return '2.30 %'."""
    return f"{100 * fraction:.2f} %"


def interval(bounds: tuple[float, float]) -> str:
    """Return '1.54 to 3.43 %'."""
    return f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"
