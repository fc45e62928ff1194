"""The machine: device, precision, threads and random numbers; the only file that sets torch-global state."""

import hashlib

import torch


def derive_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Return 64 bits that depend on nothing but (seed, purpose, index).

    The first eight bytes of SHA-256 of "seed/purpose/index". torch's CPU generator uses 32 of
    them. Purposes in use: init, order, augment, dropout, split.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def make_generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Return a CPU generator that is a function of (seed, purpose, index)."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, index))
