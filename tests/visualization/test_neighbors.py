import pytest
import torch

from cnnlab.errors import UsageError
from cnnlab.visualization.layer_access import hidden_layer
from cnnlab.visualization.neighbors import draw_neighbors, draw_predictions, find_neighbors
from tests.reference.visualization import LIGHT_HEAD, network, probe_for, set_of


@pytest.fixture(scope="module")
def lenet():
    return network("lenet5", channels=1, size=32)


@pytest.mark.parametrize("layer", ["relu6", "c3", None])
def test_streaming_finds_what_comparing_with_everything_finds(lenet, layer):
    probe = probe_for(lenet, num_images=17)
    found = find_neighbors(lenet, probe, layer, probe.train_set.batches(), 4)
    pixels = probe.normalize(probe.images)
    with torch.no_grad():
        features = pixels if layer is None else lenet.activations(pixels, [layer])[layer]
    features = features.flatten(1)
    for n in range(17):
        distances = (features - features[n]).square().sum(1).sqrt()
        expected = distances.argsort(stable=True)[:4]
        assert found.indices[n].tolist() == expected.tolist()
        torch.testing.assert_close(found.distances[n], distances[expected], rtol=1e-9, atol=1e-9)
        assert found.labels[n].tolist() == probe.labels[expected].tolist()


def test_an_image_of_the_set_is_its_own_nearest_neighbor(lenet):
    probe = probe_for(lenet)
    (picture,) = draw_neighbors(lenet, probe)
    assert [row[0] for row in picture.facts["indices"]] == [0, 1, 2, 3, 4, 5]
    assert picture.facts["layer"] == "relu6"
    assert 0 <= picture.facts["same_class"] <= 1


def test_the_hidden_layer_is_what_the_last_layer_reads(lenet):
    assert hidden_layer(lenet) == "relu6"
    assert hidden_layer(network("mlp", channels=1, size=20, hidden_units=[9, 8])) == "relu2"
    assert hidden_layer(network("lenet5_1998", channels=1, size=32)) == "squash6"
    small = network("alexnet", channels=3, size=64, **LIGHT_HEAD | {"without_layers": ["fc6"]})
    assert hidden_layer(small) == "relu7"
    with pytest.raises(UsageError, match="no hidden layer"):
        hidden_layer(network("linear", channels=1, size=20))


def test_a_missing_or_empty_training_set_is_said(lenet):
    with pytest.raises(UsageError, match="neighbors searches a data set and has no training set"):
        draw_neighbors(lenet, probe_for(lenet, train_set=None))
    none = set_of(torch.empty(0, 1, 32, 32, dtype=torch.uint8), torch.empty(0).long())
    with pytest.raises(UsageError, match="training set is empty"):
        draw_neighbors(lenet, probe_for(lenet, train_set=none))


def test_predictions_show_five_bars_and_mark_the_true_class(lenet):
    (picture,) = draw_predictions(lenet, probe_for(lenet))
    bars = [axes for axes in picture.figure.axes if axes.patches]
    assert len(bars) == 8
    with torch.no_grad():
        probe = probe_for(lenet)
        chances = lenet(probe.normalize(probe.images[:1])).softmax(1)[0]
    widths = [bar.get_width() for bar in bars[0].patches]
    assert widths == pytest.approx(chances.topk(5).values.tolist())
    own = chances.topk(5).indices.tolist().index(0) if 0 in chances.topk(5).indices else None
    hatched = [n for n, bar in enumerate(bars[0].patches) if bar.get_hatch()]
    assert hatched == ([] if own is None else [own])
