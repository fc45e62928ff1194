import pytest
import torch

from cnnlab.errors import UsageError
from cnnlab.visualization.filters import (
    chroma,
    draw_filter_evolution,
    draw_filters,
    evenly,
    kernels_of,
    num_towers,
)
from tests.reference.visualization import LIGHT_HEAD, network, probe_for


@pytest.fixture(scope="module")
def towers():
    return network("alexnet_two_tower", channels=3, size=64, **LIGHT_HEAD)


def test_gray_kernels_have_no_chroma_and_opposed_colors_have_it_all():
    gray = torch.randn(1, 1, 5, 5).expand(1, 3, 5, 5)
    opposed = torch.stack([torch.ones(5, 5), -torch.ones(5, 5), torch.zeros(5, 5)])[None]
    scores = chroma(torch.cat([gray, opposed, torch.zeros(1, 3, 5, 5)]))
    torch.testing.assert_close(scores, torch.tensor([0.0, 1.0, 0.0]), rtol=0, atol=1e-6)


def test_a_kernel_that_is_half_color_scores_one_half():
    gray, color = torch.ones(3), torch.tensor([1.0, -1.0, 0.0])
    mixed = gray / gray.norm() + color / color.norm()
    torch.testing.assert_close(chroma(mixed.view(1, 3, 1, 1)), torch.tensor([0.5]))


def test_towers_are_drawn_apart_with_a_score_each(towers):
    with torch.no_grad():  # the paper's claim, made true by hand
        weight = towers.get_submodule("conv1").weight
        weight[:48] = weight[:48].mean(1, keepdim=True)
        weight[48:] -= weight[48:].mean(1, keepdim=True)
    (picture,) = draw_filters(towers, probe_for(towers))
    assert len(picture.figure.axes) == 2
    assert picture.facts["chroma_tower_1"] == pytest.approx(0, abs=1e-5)
    assert picture.facts["chroma_tower_2"] == pytest.approx(1, abs=1e-5)


def test_a_dense_net_has_one_tower(towers):
    assert num_towers(towers) == 2
    assert num_towers(network("alexnet", channels=3, size=64, **LIGHT_HEAD)) == 1
    assert num_towers(network("lenet5", channels=1, size=32)) == 1


def test_links_that_the_connection_table_lacks_are_zero_kernels():
    kernels = kernels_of(network("lenet5_1998", channels=1, size=32), "c3")
    assert kernels.shape == (16, 6, 5, 5)
    assert int((kernels.flatten(2).abs().sum(2) > 0).sum()) == 60


def test_a_linear_classifier_shows_a_template_a_class():
    net = network("linear", channels=1, size=20)
    (picture,) = draw_filters(net, probe_for(net))
    assert kernels_of(net, "output").shape == (10, 1, 20, 20)
    assert "10 kernels" in picture.title


def test_deeper_kernels_are_tiles_and_units_can_be_chosen():
    net = network("lenet5", channels=1, size=32)
    (picture,) = draw_filters(net, probe_for(net, layer="c3", units=(2, 5)))
    assert "2 units" in picture.title
    with pytest.raises(UsageError, match="c3 has no unit 16"):
        draw_filters(net, probe_for(net, layer="c3", units=(16,)))


def test_a_layer_without_kernels_names_those_that_have_some():
    net = network("lenet5", channels=1, size=32)
    with pytest.raises(UsageError, match="f6 has no kernels") as caught:
        draw_filters(net, probe_for(net, layer="f6"))
    assert "c1, c3, c5" in caught.value.hint


def test_kernels_over_time_show_a_row_a_checkpoint_in_order():
    nets = [network("lenet5", channels=1, size=32) for _ in range(3)]
    saved = [(f"epoch {n}", net) for n, net in enumerate(nets)]
    (picture,) = draw_filter_evolution(
        nets[-1], probe_for(nets[-1], checkpoints=lambda: iter(saved))
    )
    names = [axes.get_title(loc="left") for axes in picture.figure.axes]
    assert names == ["epoch 0", "epoch 1", "epoch 2"]


def test_many_moments_are_thinned_evenly_with_both_ends_kept():
    assert evenly(list(range(15)), 8) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert evenly([1, 2], 8) == [1, 2]
