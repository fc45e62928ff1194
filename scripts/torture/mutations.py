"""Damage a valid checkpoint in seeded ways; every damaged file must be refused with a message.

    python scripts/torture/mutations.py FOLDER COUNT SEED

Prints one JSON document.
"""

import hashlib
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint
from cnnlab.errors import CheckpointError

LONGEST_SECONDS = 2.0
DIGEST = slice(35, 99)
Mutation = Callable[[bytes, random.Random, bytes], bytes]


def flip_bit(data: bytes, draw: random.Random, _other: bytes) -> bytes:
    """Invert one bit anywhere."""
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def truncate(data: bytes, draw: random.Random, _other: bytes) -> bytes:
    """Keep only the start."""
    return data[: draw.randrange(len(data))]


def zero_block(data: bytes, draw: random.Random, _other: bytes) -> bytes:
    """Zero up to 4 KiB, as a rename without fsync leaves them after a power cut."""
    start = draw.randrange(len(data) - 1)
    length = min(4096, len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def append(data: bytes, draw: random.Random, _other: bytes) -> bytes:
    """Add bytes at the end."""
    return data + draw.randbytes(draw.randrange(1, 200))


def insert(data: bytes, draw: random.Random, _other: bytes) -> bytes:
    """Insert bytes anywhere."""
    place = draw.randrange(len(data))
    return data[:place] + draw.randbytes(draw.randrange(1, 64)) + data[place:]


def splice(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """Join the start of this file and the end of another checkpoint."""
    place = draw.randrange(100, min(len(data), len(other)))
    return data[:place] + other[place:]


def swap_blocks(data: bytes, draw: random.Random, _other: bytes) -> bytes:
    """Exchange two blocks of 512 bytes."""
    first, second = sorted(draw.sample(range(0, len(data) - 512, 512), 2))
    changed = bytearray(data)
    changed[first : first + 512] = data[second : second + 512]
    changed[second : second + 512] = data[first : first + 512]
    return bytes(changed)


def resealed(data: bytes, draw: random.Random, _other: bytes) -> bytes:
    """Change a few bytes of the header and recompute the digest, as a forger would."""
    end = 8 + int.from_bytes(data[:8], "little")
    changed = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        changed[draw.randrange(99, end)] = draw.choice(b'0123456789[]{},:"\\eE-.nul ')
    return seal(bytes(changed))


def seal(data: bytes) -> bytes:
    """Return the file with the digest of its content recomputed."""
    blank = data[: DIGEST.start] + b"0" * 64 + data[DIGEST.stop :]
    digest = hashlib.sha256(blank).hexdigest().encode()
    return data[: DIGEST.start] + digest + data[DIGEST.stop :]


DAMAGES: tuple[Mutation, ...] = (
    flip_bit,
    truncate,
    zero_block,
    append,
    insert,
    splice,
    swap_blocks,
    resealed,
)


def sample(seed: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return tensors and document of a small, typical checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "model.c1.weight": torch.randn(6, 1, 5, 5, generator=generator),
        "model.f6.weight": torch.randn(84, 20, generator=generator),
        "optimizer.f6.weight.momentum": torch.randn(84, 20, generator=generator),
        "input.mean": torch.rand(1, generator=generator),
        "steps": torch.tensor([seed, 3]),
    }
    document = {"step": seed, "class_names": ["zero", "eins"], "config": {"seed": 1, "rate": 0.1}}
    return tensors, document


def outcome(path: Path, data: bytes, original: bytes) -> str:
    """Read the file as evaluation and resume do; return how that ended."""
    path.write_bytes(data)
    started = time.perf_counter()
    try:
        checkpoint.read(path)
    except CheckpointError:
        result = "refused"
    except Exception as error:
        result = f"traceback: {type(error).__name__}: {error}"
    else:
        result = "unchanged" if data == original else "silent"
    return result if time.perf_counter() - started < LONGEST_SECONDS else "slow"


def mutate(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Try `count` damaged files; return how many ended in each way.

    A resealed file that parses is a forgery, not damage, and counted separately.
    """
    draw = random.Random(seed)
    files = []
    for number in (1, 2):
        checkpoint.write(folder / f"valid_{number}", *sample(number))
        files.append((folder / f"valid_{number}").read_bytes())

    outcomes: dict[str, int] = {"refused": 0, "silent": 0, "slow": 0}
    for index in range(count):
        damage = DAMAGES[index % len(DAMAGES)]
        result = outcome(folder / "damaged", damage(files[0], draw, files[1]), files[0])
        if result == "silent" and damage is resealed:
            result = "forged but well-formed"
        outcomes[result] = outcomes.get(result, 0) + 1
    return {"mutations": count, **outcomes}


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    print(json.dumps(mutate(place, int(sys.argv[2]), int(sys.argv[3]))))
