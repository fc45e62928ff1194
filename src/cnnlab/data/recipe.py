"""How a Store is made: with the source images, a recipe decides every byte of it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Encoding, size, and what else changes the pixels on disk."""

    encoding: str
    side_pixels: int | None
    kernel: str
    quality: int
    shard_bytes: int
    libraries: dict[str, str]
    decoding: str

    def document(self) -> dict[str, Any]:
        """Return what the manifest records; the quality only where there are JPEGs."""
        plain = dict(vars(self))
        if self.encoding != "jpeg":
            plain.pop("quality")
        return plain

    def changed_in(self, recorded: dict[str, Any]) -> list[str]:
        """Return the keys in which a recipe recorded earlier differs from this one."""
        ours = self.document()
        return [key for key in sorted({*ours, *recorded}) if ours.get(key) != recorded.get(key)]


@dataclass(frozen=True)
class Tolerance:
    """What happens with bad files: fail, or skip up to a fraction of a split."""

    on_bad: str
    max_bad_fraction: float

    def max_bad(self, num_images: int) -> float:
        """Return how many bad files a split of `num_images` may have."""
        return self.max_bad_fraction * num_images if self.on_bad == "skip" else 0
