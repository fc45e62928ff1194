"""Checksums of blocks: what a look at a part of a file finds."""

from pathlib import Path

import numpy as np
import pytest

from cnnlab.data.blocks import BLOCK_BYTES, BlockSums, damaged_in_sample, num_blocks

CONTENT = np.random.default_rng(0).integers(0, 256, 3 * BLOCK_BYTES + 1000, dtype=np.uint8)


def sums_of(*parts: np.ndarray) -> str:
    sums = BlockSums()
    for part in parts:
        sums.update(part)
    return sums.text()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "shard").write_bytes(CONTENT.tobytes())
    return tmp_path / "shard"


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


def test_the_sums_do_not_depend_on_the_pieces_that_were_written() -> None:
    cuts = [1, 700, BLOCK_BYTES, 2 * BLOCK_BYTES + 5]
    assert sums_of(*np.split(CONTENT, cuts)) == sums_of(CONTENT)
    assert len(sums_of(CONTENT)) == 8 * num_blocks(len(CONTENT))
    assert sums_of() == ""


@pytest.mark.parametrize("place", [0, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 9, -1])
def test_one_flipped_bit_anywhere_is_found_where_all_blocks_are_read(
    path: Path, place: int
) -> None:
    files = [(path, sums_of(CONTENT))]
    assert damaged_in_sample(files) == []
    flip(path, place)
    assert damaged_in_sample(files) == [path]


def test_a_sample_reads_as_many_blocks_as_it_may_and_others_each_time(path: Path) -> None:
    files = [(path, sums_of(CONTENT))]
    flip(path, 0)
    found = [bool(damaged_in_sample(files, most_checked=2)) for _ in range(64)]
    assert set(found) == {True, False}  # by chance not in 1 of 2 ** 63 runs
