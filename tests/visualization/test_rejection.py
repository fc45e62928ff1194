"""The rejection curve, against counting image by image."""

import pytest
import torch

from cnnlab.errors import UsageError
from cnnlab.visualization.rejection import SHARES, draw_rejection, errors_of_rest
from tests.reference.visualization import network, probe_for, set_of


@pytest.fixture(scope="module")
def lenet():
    return network("lenet5", channels=1, size=32)


def test_the_curve_is_that_of_counting_the_rest_image_by_image(lenet):
    probe = probe_for(lenet, num_images=30)
    (picture,) = draw_rejection(lenet, probe)
    images, labels = (torch.cat(part) for part in zip(*probe.image_set.batches(), strict=True))
    with torch.no_grad():
        probabilities = lenet(probe.normalize(images)).softmax(1)
    ranked = sorted(
        (float(row.max()), n, int(row.argmax()) != int(label))
        for n, (row, label) in enumerate(zip(probabilities, labels, strict=True))
    )

    facts = picture.facts
    assert facts["num_images"] == len(ranked)
    assert facts["rejected"] == list(SHARES)
    for share, error, threshold in zip(
        facts["rejected"], facts["error"], facts["rejected_below"], strict=True
    ):
        rest = ranked[round(share * len(ranked)) :]
        assert error == pytest.approx(sum(wrong for *_, wrong in rest) / len(rest))
        assert threshold == pytest.approx(rest[0][0])
    assert all(
        least <= error
        for least, error in zip(facts["error_if_wrong_first"], facts["error"], strict=True)
    )


def test_equal_certainties_reject_the_first_and_one_image_always_stays():
    certain, wrong = torch.tensor([0.5, 0.5, 0.9, 0.2]), torch.tensor([1, 0, 0, 1])
    assert errors_of_rest(certain, wrong, (0, 0.25, 0.5, 0.75)) == [0.5, 1 / 3, 0, 0]
    assert errors_of_rest(torch.ones(1), torch.ones(1), (0, 0.9)) == [1, 1]


def test_an_empty_set_is_said(lenet):
    none = set_of(torch.empty(0, 1, 32, 32, dtype=torch.uint8), torch.empty(0).long())
    with pytest.raises(UsageError, match="rejection searches a data set and the test set is empty"):
        draw_rejection(lenet, probe_for(lenet, image_set=none))
