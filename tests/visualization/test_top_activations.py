import pytest
import torch

from cnnlab.visualization.top_activations import find_top_activations
from tests.reference.visualization import network, probe_for, set_of


@pytest.fixture(scope="module")
def lenet():
    return network("lenet5", channels=1, size=32)


def by_sorting(net, probe, layer, unit, count):
    """Keep everything, then sort: the way without a stream."""
    with torch.no_grad():
        maps = net.activations(probe.normalize(probe.images), [layer])[layer]
    found = []
    for index, one in enumerate(maps[:, unit]):
        best = int(one.argmax())
        found.append((-float(one.flatten()[best]), index, best))
    return [(index, best) for _, index, best in sorted(found)[:count]]


@pytest.mark.parametrize("layer", ["c1", "c3", "relu6"])
def test_streaming_finds_what_sorting_everything_finds(lenet, layer):
    probe = probe_for(lenet, num_images=23)
    found = find_top_activations(lenet, probe.image_set.batches(), probe.normalize, layer, count=9)
    for unit in range(len(found.values)):
        pairs = list(zip(found.indices[unit].tolist(), found.positions[unit].tolist(), strict=True))
        assert pairs == by_sorting(lenet, probe, layer, unit, 9)


def test_batches_do_not_matter_and_equal_images_keep_their_order(lenet):
    probe = probe_for(lenet, num_images=8)
    twice = torch.cat([probe.images, probe.images])
    results = [
        find_top_activations(
            lenet, set_of(twice, torch.zeros(16).long(), size).batches(), probe.normalize, "c3"
        )
        for size in (1, 5, 16)
    ]
    for other in results[1:]:
        assert torch.equal(results[0].indices, other.indices)
    first = results[0]
    for unit in range(16):
        order = first.indices[unit].tolist()
        assert all(b == a + 8 for a, b in zip(order[:-1:2], order[1::2], strict=True))


def test_a_small_set_gives_as_many_as_it_has(lenet):
    probe = probe_for(lenet, num_images=4)
    found = find_top_activations(lenet, probe.image_set.batches(), probe.normalize, "c3")
    assert found.values.shape == (16, 4)
    assert (found.values.diff(dim=1) <= 0).all()


def test_each_image_is_read_once_and_no_batch_is_kept(lenet):
    probe = probe_for(lenet, num_images=20)
    seen, alive = [], []

    class Counted(torch.Tensor):
        pass

    def batches():
        import weakref

        for start in range(0, 20, 4):
            images = probe.images[start : start + 4].clone()
            seen.extend(range(start, start + 4))
            alive.append(weakref.ref(images))
            assert sum(ref() is not None for ref in alive) <= 2
            yield images, probe.labels[start : start + 4]

    find_top_activations(lenet, batches(), probe.normalize, "c3")
    assert seen == list(range(20))


def test_the_leading_units_are_those_with_the_largest_mean(lenet):
    probe = probe_for(lenet)
    found = find_top_activations(lenet, probe.image_set.batches(), probe.normalize, "c3")
    means = found.values.mean(1)
    leading = found.leading_units(5)
    assert means[leading].min() >= means[[u for u in range(16) if u not in leading]].max()
