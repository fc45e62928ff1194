"""How much memory is free, and what is chosen where the system does not tell."""

import os

import pytest
import torch

from cnnlab.data.residency import free_bytes

CPU = torch.device("cpu")


def test_linux_tells_how_much_memory_is_free() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_bytes(CPU) <= total


def test_a_system_that_does_not_tell_is_taken_to_have_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS, which has no SC_AVPHYS_PAGES, and Windows, which has no sysconf."""
    names = {name: key for name, key in os.sysconf_names.items() if name != "SC_AVPHYS_PAGES"}
    monkeypatch.setattr(os, "sysconf_names", names)
    monkeypatch.delattr(os, "sysconf")
    assert free_bytes(CPU) == 4 << 30
