from pathlib import Path

import pytest
import torch
from torch import nn

from cnnlab.config.models import MODELS
from cnnlab.errors import UsageError
from cnnlab.geometry import Window
from cnnlab.models.layers import Conv2d, max_pool
from cnnlab.models.network import Layer, Network, Task
from cnnlab.playground import page, program
from cnnlab.visualization.deconvnet import project
from cnnlab.visualization.layer_access import each_layer, flatten_positions
from tests.playground.javascript import answer, needs_node
from tests.playground.networks import NETWORKS, built, pictures

RUN = """
const found = [];
for (const [operations, size, weights, images, places] of given) {
  const network = new Network(operations, size);
  network.load(new Float32Array((await unpacked(weights)).buffer));
  const scores = images.map((image) => [...network.run(image)]);
  const projections = places.map(([layer, unit, at]) => {
    const [, height, width] = network.sizes[layer];
    return [...network.project(layer, unit * height * width + at)];
  });
  const parts = places.map(([layer, unit, at]) => {
    const [, , width] = network.sizes[layer];
    const part = network.trail(layer, unit, Math.floor(at / width), at % width)[0];
    return [part.top, part.left, part.bottom, part.right];
  });
  found.push({ scores, layers: network.values.map((values) => [...values]), projections, parts });
}
return found;
"""


def test_every_model_is_tried() -> None:
    tried = {model for model, *_ in NETWORKS.values()}
    assert tried == set(MODELS) - {"alexnet_two_gpu"}, "which is loaded as alexnet_two_tower"


def places_of(network: Network, image: torch.Tensor) -> list[list[int]]:
    """Return [number of values, unit, position] of the strongest unit of every layer."""
    found = []
    for number, (_, maps) in enumerate(each_layer(network, image), start=1):
        flat = flatten_positions(maps)[0]
        strongest = int(flat.flatten().argmax())
        found.append([number, strongest // flat.shape[1], strongest % flat.shape[1]])
    return found


FEW = ["mlp", "lenet5", "lenet5_1998", "cifar_11pct", "alexnet_two_tower"]
"""Together they have nearly all kinds of operations; the others are tried with --run-slow."""

OTHERS = pytest.param([name for name in NETWORKS if name not in FEW], marks=pytest.mark.slow)


@needs_node
@pytest.mark.parametrize("names", [FEW, OTHERS], ids=["few", "others"])
@torch.no_grad()
def test_the_interpreter_computes_what_torch_does_in_every_layer_and_back(
    names: list[str], tmp_path: Path
) -> None:
    networks = [built(name) for name in names]
    given = []
    for network in networks:
        images, written = pictures(network, 2), program.program_of(network)
        size = [network.in_channels, network.input_size_pixels, network.input_size_pixels]
        flat = images.flatten(1).tolist()
        places = places_of(network, images[1:])
        given.append([written.operations, size, page.packed(written.weights), flat, places])

    found = answer(RUN, given, tmp_path)
    for name, network, page_s, (*_, places) in zip(names, networks, found, given, strict=True):
        images = pictures(network, 2)
        assert_near(page_s["scores"], network(images), name)
        layers = [(None, images[1:]), *each_layer(network, images[1:])]
        for values, (_, maps) in zip(page_s["layers"], layers, strict=True):
            assert_near(values, maps.flatten(), name)
        assert_the_way_back(network, images[1:], places, page_s, name)


def assert_near(found: list[float], wanted: torch.Tensor, name: str) -> None:
    scale = max(1.0, float(wanted.abs().max()))
    off = (torch.tensor(found).flatten() - wanted.flatten()).abs().max()
    assert float(off) <= 1e-4 * scale, f"{name}: {float(off)} at a scale of {scale}"


def assert_the_way_back(
    network: Network, image: torch.Tensor, places: list[list[int]], page_s: dict, name: str
) -> None:
    """Compare projections with the deconvnet's, and the framed pixels with the receptive field."""
    for (number, unit, at), projection, part in zip(
        places, page_s["projections"], page_s["parts"], strict=True
    ):
        layer = network.layers[number - 1]
        wanted = project(
            network, image, layer.name, torch.tensor([unit]), positions=torch.tensor([at])
        )
        assert_near(projection, wanted, f"{name}, back from {layer.name}")

        seen = wanted[0].abs().amax(0).nonzero()
        if len(seen) and layer.role != "norm":  # whose neighbors the deconvnet leaves out
            (top, left), (bottom, right) = seen.amin(0).tolist(), seen.amax(0).tolist()
            assert part[0] <= top <= bottom <= part[2]
            assert part[1] <= left <= right <= part[3]
        field = network.receptive_fields[layer.name].size_pixels
        assert part[2] - part[0] < field


def tiny(*layers: Layer) -> Network:
    return Network(layers, Task(1, 8, 2)).eval()


def scores(features: int) -> list[Layer]:
    return [Layer("flatten", "flatten", nn.Flatten()), Layer("out", "fc", nn.Linear(features, 2))]


def test_a_layer_of_ones_own_is_refused_by_its_name() -> None:
    network = tiny(Layer("swish", "rectifier", nn.SiLU()), *scores(64))
    with pytest.raises(UsageError, match="cannot compute layer swish, a SiLU"):
        program.program_of(network)


def test_a_subclass_of_a_known_layer_may_compute_something_else_and_is_refused() -> None:
    class Doubled(Conv2d):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(maps)

    network = tiny(Layer("c1", "conv", Doubled(1, 2, Window(3))), *scores(72))
    with pytest.raises(UsageError, match="layer c1, a Doubled"):
        program.program_of(network)


def test_a_network_with_a_forward_pass_of_its_own_is_refused() -> None:
    class Twice(Network):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(super().forward(images))

    with pytest.raises(UsageError, match="cannot compute Twice"):
        program.program_of(Twice([Layer("pool", "pool", max_pool(Window(2)))], Task(1, 8, 2)))


def test_a_network_too_large_for_a_page_is_refused_with_its_size_and_what_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = program.program_of(built("lenet5"))
    page.check_size(written)
    monkeypatch.setattr(page, "MOST_NUMBERS", 20_000)
    with pytest.raises(UsageError, match=r"holds 20,000 weights.* has 61,706") as caught:
        page.check_size(written)
    assert "one of 57% of its width would fit" in caught.value.hint
