"""Build a prepared Store: shard by shard, resumable after any kill, published by one rename.

Everything is written in `<output>.building`; the result depends on source and recipe alone, never
on interruptions or the number of threads.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.cpu.buffer_pool import BufferPool
from cnnlab.data import journal as journals
from cnnlab.data import manifest as manifests
from cnnlab.data.build_lock import building
from cnnlab.data.journal import Journal
from cnnlab.data.leaving_out import BadFile, bad_among, good_images, listed
from cnnlab.data.manifest import FileEntry, Manifest, SplitEntry
from cnnlab.data.moments import principal_components
from cnnlab.data.prepared import MEAN_IMAGE
from cnnlab.data.recipe import Recipe, Tolerance
from cnnlab.data.shards import Source, shard_ranges, write_array, write_jpegs, write_uint8
from cnnlab.data.store import Store, StoredStatistics
from cnnlab.data.workers import Workers
from cnnlab.errors import BusyError, DataError, ResourceError
from cnnlab.files.atomic import sweep, sync_folder, unwritable
from cnnlab.safe_output import escape_control

_SHOWN = 20
_JPEG_SHARE = 0.25  # of the pixels' bytes at quality 95, generously
_SLACK_BYTES = 16 << 20


class Builder:
    """One preparation. `progress` is called with images done; it may raise to interrupt."""

    def __init__(
        self,
        sources: dict[str, Source],
        recipe: Recipe,
        output: Path,
        workers: Workers,
        progress: Callable[[int], None] = lambda num_done: None,
    ) -> None:
        self.sources, self.recipe, self.output = sources, recipe, output
        self.folder = output.with_name(f"{output.name}.building")
        self._workers, self._progress, self._num_done = workers, progress, 0
        self._memory = BufferPool()
        self.image_shape = sources["train"].image_shape
        self.digests = {name: source.store.digest for name, source in sources.items()}
        self.num_images = sum(len(source.store) for source in sources.values())

    @property
    def plan(self) -> str:
        """The digest of recipe and source: what makes two preparations the same."""
        plain = [manifests.FORMAT_VERSION, self.recipe.document(), self.digests, self.image_shape]
        return hashlib.sha256(
            json.dumps(plain, sort_keys=True, allow_nan=False).encode()
        ).hexdigest()

    def run(self, tolerance: Tolerance, wait_seconds: float = 0) -> Manifest:
        """Build and publish, or continue where an earlier attempt stopped; return the manifest.

        A finished Store of the same plan is left as it is. Raises DataError for bad files and for
        a Store of another plan, BusyError while another process builds it or when the output is
        something else, ResourceError for a full disk before the first byte is written.
        """
        with building(self.output, wait_seconds):
            if (finished := self._finished()) is not None:
                return finished
            if (complete := self._complete_but_unnamed()) is not None:
                self._give_name()
                return complete

            journal = self._open_journal()
            self._check_space(journal)
            for split in self.sources:
                self._build_split(split, journal)
            return self._publish(journal, self._good_images(journal, tolerance))

    def _finished(self) -> Manifest | None:
        """Return the manifest of a Store of the same plan. Raises for any other output."""
        where = escape_control(str(self.output.absolute()))
        if manifests.is_store(self.output):
            manifest = manifests.read(self.output)
            if self._is_same(manifest):
                return manifest
            changed = "source has"
            if self._is_of_source(manifest):
                changed = f"recipe ({', '.join(self.recipe.changed_in(manifest.recipe))}) has"
            raise DataError(
                f"the output is a Store already, and the {changed} changed since it was made",
                where,
                "rebuild: remove it, or prepare into another output",
            )

        if self.output.exists() and (not self.output.is_dir() or any(self.output.iterdir())):
            raise BusyError(
                "the output exists and is not a Store", where, "choose another output, or remove it"
            )
        return None

    def _complete_but_unnamed(self) -> Manifest | None:
        """Return the manifest of an attempt that was killed between its last two steps."""
        if not manifests.is_store(self.folder) or (self.folder / journals.FILE_NAME).exists():
            return None
        try:
            manifest = manifests.read(self.folder)
        except DataError:
            return None
        return manifest if self._is_same(manifest) else None

    def _is_same(self, manifest: Manifest) -> bool:
        return manifest.recipe == self.recipe.document() and self._is_of_source(manifest)

    def _is_of_source(self, manifest: Manifest) -> bool:
        """Return whether a Store was made of these images, by this version or an earlier one."""
        stores = {name: source.store for name, source in self.sources.items()}
        return stores.keys() == manifest.source.keys() and all(
            store.has_digest(manifest.source[name]) for name, store in stores.items()
        )

    def _open_journal(self) -> Journal:
        """Return the journal of an earlier attempt at the same plan; remove any other attempt."""
        journal = journals.read(self.folder, self.plan, self.image_shape)
        if not journal.splits:
            shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        sweep(self.folder)

        done = [shard for progress in journal.splits.values() for shard in progress.shards]
        manifests.check_lengths(self.folder, done)
        manifests.check_sample(self.folder, done)
        return journal

    def _check_space(self, journal: Journal) -> None:
        share = _JPEG_SHARE if self.recipe.encoding == "jpeg" else 1
        bytes_each = share * self.image_shape[0] * self.image_shape[1] * self.image_shape[2]
        done = sum(e.num_bytes for split in journal.splits.values() for e in split.shards)
        needed = int(self.num_images * bytes_each) + _SLACK_BYTES - done

        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise ResourceError(
                f"the Store needs {needed:,} bytes, {free:,} are free",
                escape_control(str(self.output.absolute())),
                "free space, another output, encoding=jpeg, or a smaller side_pixels",
            )

    def _build_split(self, split: str, journal: Journal) -> None:
        """Write the shards that the journal does not have yet, and record each."""
        height, width, channels = self.image_shape
        ranges = shard_ranges(
            len(self.sources[split].store), height * width * channels, self.recipe.shard_bytes
        )
        num_shards_done = journal.num_shards_done(split)
        for number, indices in enumerate(ranges):
            if number < num_shards_done:
                self._count(len(indices))
                continue

            images, bad = self._read(split, indices)
            shard = self._write(f"{split}_{number:05d}", images) if len(images) else None
            journal.add(split, images, shard, bad)
            journal.write(self.folder)

    def _read(self, split: str, indices: Tensor) -> tuple[Tensor, list[BadFile]]:
        """Return the good images of a shard, and its bad files."""
        source, num_good = self.sources[split], 0
        bad_files: list[BadFile] = []
        shard = self._memory.empty((len(indices), *self.image_shape), torch.uint8)
        for part in indices.split(16 * self._workers.num_threads):
            room = shard[num_good : num_good + len(part)]
            _, bad = source.read_good(part, out=room)
            if bad:  # close the gaps
                good = torch.ones(len(part), dtype=torch.bool)
                good[[place for place, _ in bad]] = False
                room[: len(part) - len(bad)] = room[good]

            bad_files += bad_among(source.store, part, bad)
            num_good += len(part) - len(bad)
            self._count(len(part))
        return shard[:num_good], bad_files

    def _count(self, num_images: int) -> None:
        self._num_done += num_images
        self._progress(self._num_done)

    def _write(self, stem: str, images: Tensor) -> FileEntry:
        if self.recipe.encoding == "jpeg":
            path = self.folder / f"{stem}.jpegs"
            return write_jpegs(path, images, self.recipe.quality, self._workers)
        return write_uint8(self.folder / f"{stem}.npy", images)

    def _good_images(self, journal: Journal, tolerance: Tolerance) -> dict[str, Tensor]:
        """Return bool [n] per split: which images the Store gets. Raises DataError for too few."""
        found = {}
        for split, progress in journal.splits.items():
            store = self.sources[split].store
            if len(progress.bad) > tolerance.max_bad(len(store)):
                raise _too_many_bad(store, progress.bad, tolerance)
            found[split] = good_images(store, progress.bad)
        return found

    def _publish(self, journal: Journal, is_good: dict[str, Tensor]) -> Manifest:
        """Write labels, statistics and manifest, then give the folder its name."""
        files, splits = [], {}
        for split, progress in journal.splits.items():
            store, good = self.sources[split].store, is_good[split]
            files.append(write_array(self.folder / f"{split}_labels.npy", store.labels[good]))
            if store.groups is not None:
                files.append(write_array(self.folder / f"{split}_groups.npy", store.groups[good]))
            skipped = [{"path": file.path, "reason": file.reason} for file in progress.bad]
            splits[split] = SplitEntry(int(good.sum()), progress.shards, skipped, store.note)

        statistics = journal.sums.statistics()
        files.append(write_array(self.folder / MEAN_IMAGE, statistics.mean_image))
        manifest = self._manifest(splits, files, statistics)
        manifests.write(self.folder, manifest)

        # in this order: a folder with a manifest and no journal is complete
        (self.folder / journals.FILE_NAME).unlink()
        self._give_name()
        return manifest

    def _give_name(self) -> None:
        if self.output.is_dir():
            self.output.rmdir()  # an empty folder made by hand
        os.rename(self.folder, self.output)
        sync_folder(self.output.parent)

    def _manifest(
        self, splits: dict[str, SplitEntry], files: list[FileEntry], statistics: StoredStatistics
    ) -> Manifest:
        train = self.sources["train"].store
        values, vectors = principal_components(statistics.covariance)
        return Manifest(
            name=train.name,
            class_names=list(train.class_names),
            mirror_allowed=train.mirror_allowed,
            image_shape=list(self.image_shape),
            recipe=self.recipe.document(),
            source=self.digests,
            splits=splits,
            files=files,
            statistics={
                "mean": statistics.mean.tolist(),
                "std": statistics.std.tolist(),
                "covariance": statistics.covariance.tolist(),
                "eigenvalues": values.tolist(),
                "eigenvectors": vectors.tolist(),
            },
        )


def _too_many_bad(store: Store, bad: list[BadFile], tolerance: Tolerance) -> DataError:
    if tolerance.on_bad == "skip":
        hint = f"more than max_bad_fraction={tolerance.max_bad_fraction:g} allows"
    else:
        hint = "repair or remove them, or leave them out with on_bad=skip"
    return DataError(
        f"{len(bad)} of {len(store)} {store.split} files hold no usable image",
        listed(bad, _SHOWN),
        hint,
    )
