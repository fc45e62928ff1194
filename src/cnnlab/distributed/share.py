"""Which rows of a batch, and which images of a set, are one process's; integers only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Rows first, first + 1, ... of a batch of `total` images."""

    first: int
    total: int


@dataclass(frozen=True)
class Share:
    """One of `size` contiguous parts of anything that can be counted, sizes differing by one."""

    rank: int = 0
    size: int = 1

    def rows(self, total: int) -> slice:
        """Return this process's rows of `total`; none where there are fewer rows than processes."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def part(self, total: int) -> Part:
        """Return the same as a Part: what draws for the whole batch are cut with."""
        return Part(self.rows(total).start, total)


WHOLE = Share()
"""One process: everything."""
