"""Whether the images of each split are still those that a run recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnlab.data.store import Splits, Store
from cnnlab.safe_output import escape_control

DATA_DIGEST, DATA_DIGESTS, NUM_IMAGES = "data_digest", "data_digests", "num_images"
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Difference:
    """A split whose images differ from the recorded ones. now: None where the split is gone."""

    split: str
    recorded: str
    now: str | None

    def __str__(self) -> str:
        now = "none" if self.now is None else self.now[:_SHOWN_DIGITS]
        return (
            f"{self.split} images: digest {escape_control(self.recorded)[:_SHOWN_DIGITS]} -> {now}"
        )


def state_of(splits: Splits) -> dict[str, Any]:
    """Return what a run records of its images, by key of the checkpoint's document."""
    stores = splits.stores()
    digests = {name: store.digest for name, store in stores.items()}
    counts = {name: len(store) for name, store in stores.items()}
    return {DATA_DIGEST: digests["train"], DATA_DIGESTS: digests, NUM_IMAGES: counts}


def left_out_of(splits: Splits) -> dict[str, list[dict[str, str]]]:
    """Return the bad files that were left out, by split; those that splits share, once."""
    found, seen = {}, set[tuple[tuple[str, str], ...]]()
    for split, store in splits.stores().items():
        if store.left_out and store.left_out not in seen:
            seen.add(store.left_out)
            found[split] = [{"path": path, "reason": reason} for path, reason in store.left_out]
    return found


def recorded_digests(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the recorded digest of each split; earlier runs recorded that of train alone."""
    found = document.get(DATA_DIGESTS)
    digests = dict(found) if isinstance(found, dict) else {}
    digests["train"] = document.get(DATA_DIGEST)
    return {split: digest for split, digest in digests.items() if isinstance(digest, str)}


def differences(document: Mapping[str, Any], stores: Mapping[str, Store]) -> list[Difference]:
    """Return the recorded splits whose images have changed since, or are gone."""
    found = []
    for split, digest in recorded_digests(document).items():
        store = stores.get(split)
        if store is None or not store.has_digest(digest):
            found.append(Difference(split, digest, None if store is None else store.digest))
    return found


def as_recorded(document: Mapping[str, Any], split: str, store: Store) -> bool | None:
    """Return whether these are the images recorded for that split; None: none were recorded."""
    digest = recorded_digests(document).get(split)
    return None if digest is None else store.has_digest(digest)
