"""TensorBoard's tabs from plain values: what is counted, bounded and escaped."""

import re

import numpy as np
import pytest
import torch
from tensorboard.compat.proto.graph_pb2 import GraphDef
from torch.utils.tensorboard._convert_np import make_np

from cnnlab.models.summary import Row
from cnnlab.reports import projector, tabs
from cnnlab.reports.projector import MOST_FEATURES, Embedding, principal_components
from tests.hostile_names import NAMES

UNSAFE = set("\x1b\u202e\t\0\r")


def test_a_histogram_counts_every_value_in_64_bins():
    values = torch.randn(50, 21, generator=torch.Generator().manual_seed(0))
    found = tabs.histogram("weights/c1", values).value[0].histo
    counts, _ = np.histogram(make_np(values).ravel(), bins=64)

    assert list(found.bucket)[1:] == counts.tolist()
    assert len(found.bucket_limit) == 65
    assert found.num == values.numel()
    assert found.sum == pytest.approx(float(values.sum()), rel=1e-4)
    assert (found.min, found.max) == (float(values.min()), float(values.max()))


def test_equal_values_have_a_histogram_and_infinite_ones_none():
    assert sum(tabs.histogram("a", torch.zeros(7)).value[0].histo.bucket) == 7
    assert sum(tabs.histogram("a", torch.full((3,), -2.5)).value[0].histo.bucket) == 3
    assert tabs.histogram("a", torch.tensor([1.0, float("inf")])) is None
    assert tabs.histogram("a", torch.tensor([1.0, float("nan")])) is None


def test_text_is_a_block_in_which_nothing_is_formatted():
    for name in NAMES:
        shown = tabs.words("run/command", f"cnnlab train a={name}").value[0].tensor.string_val[0]
        text = shown.decode("utf-8")
        assert not set(text) & UNSAFE
        assert all(line.startswith("    ") for line in text.split("\n"))


def test_a_cell_of_a_table_ends_no_cell_and_holds_no_markup():
    for name in NAMES:
        made = tabs.table("run/network", ["layer", "n"], [[name, "1"]])
        text = made.value[0].tensor.string_val[0].decode("utf-8")
        assert not set(text) & UNSAFE
        assert text.count("\n") == 2
        assert text.count("|") == 9
        assert not re.search(r"[<>`\[\]]|\*", text.split("\n")[2])


def test_the_graph_is_the_chain_of_layers_with_sizes_and_counts():
    rows = [
        Row("conv/1", "conv", [6, 28, 28], 156, 117_600, 5, 1, "", ""),
        Row("relu1", "rectifier", [6, 28, 28], 0, 0, 5, 1, "", ""),
    ]
    graph = GraphDef.FromString(tabs.graph([1, 32, 32], rows))
    assert [(node.name, list(node.input)) for node in graph.node] == [
        ("images", []), ("conv_1", ["images"]), ("relu1", ["conv_1"])
    ]  # fmt: skip
    sides = [dim.size for dim in graph.node[1].attr["_output_shapes"].list.shape[0].dim]
    assert sides == [-1, 6, 28, 28]
    assert graph.node[1].attr["parameters"].i == 156


def test_an_embedding_is_small_and_its_names_are_one_line_each(tmp_path):
    names = [name for name in NAMES if name]
    features = torch.randn(len(names), 4096, generator=torch.Generator().manual_seed(0))
    images = torch.randint(0, 256, (len(names), 1, 64, 64), dtype=torch.uint8)
    rows = [[name, name] for name in names]
    projector.write(
        tmp_path, Embedding(f"f6 {names[0]}", features, images, ["class", "answer"], rows)
    )

    written = (tmp_path / "projector" / "names.tsv").read_text("utf-8")
    assert not set(written.replace("\t", "")) & UNSAFE
    assert [line.count("\t") for line in written.split("\n")[:-1]] == [1] * (len(names) + 1)
    numbers = np.loadtxt(tmp_path / "projector" / "features.tsv")
    assert numbers.shape == (len(names), min(len(names), MOST_FEATURES))
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert "single_image_dim: 32" in config
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(sizes) < 5000 * len(names)  # noise is the largest that a thumbnail can be


def test_principal_components_keep_the_distances_between_images():
    features = torch.randn(60, 300, generator=torch.Generator().manual_seed(1)).double()
    fewer = principal_components(features, 100)
    assert fewer.shape == (60, 60)
    assert torch.allclose(torch.cdist(fewer, fewer), torch.cdist(features, features), atol=1e-5)
    assert principal_components(features, 300) is features
