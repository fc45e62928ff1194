"""How many channels and hidden units a narrower or wider network has."""


def scaled(count: int, width: float, multiple: int = 1) -> int:
    """Return `count` times `width`, rounded to the nearest multiple, and at least one of them.

    multiple: what the count must be divisible by, e.g. 2 where each of two towers has half of it.
    """
    return multiple * max(1, round(count * width / multiple))
