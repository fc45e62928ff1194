"""Which rows of a batch, and which images of a set, are one process's; integers only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RankSlice:
    """Rows `first` to `stop` (exclusive) of `total`: what one rank has of a global batch or set."""

    first: int
    stop: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def rows(self) -> slice:
        """Return the same as a slice to index with."""
        return slice(self.first, self.stop)


@dataclass(frozen=True)
class Share:
    """The contiguous share of rank `rank` of `size` in anything countable; sizes differ by one."""

    rank: int = 0
    size: int = 1

    def slice_of(self, total: int) -> RankSlice:
        """Return this rank's rows of `total`; none where there are fewer rows than ranks."""
        first, stop = total * self.rank // self.size, total * (self.rank + 1) // self.size
        return RankSlice(first, stop, total)


WHOLE = Share()
"""One process: everything."""
