"""Whether torch.compile has what it needs here."""

import shutil

import pytest

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler; there is no g++"
)
