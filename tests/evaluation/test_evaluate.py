import pytest
import torch
from torch import Tensor, nn

from cnnlab.errors import DataError, NumericsError
from cnnlab.evaluation import views
from cnnlab.evaluation.evaluate import EvaluationStopped, Member, evaluate
from cnnlab.preprocessing import Preprocessing
from tests.reference.evaluation import ensemble_probabilities


def preprocessing(side: int = 12, channels: int = 1) -> Preprocessing:
    return Preprocessing(
        channels=channels,
        image_size_pixels=side,
        pad_pixels=0,
        mean=torch.full((channels,), 120.0),
        std=torch.full((channels,), 60.0),
    )


def small_network(crop: int, classes: int = 7, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(4 * (crop - 2) ** 2, classes),
        )


def member(crop: int = 12, name: str = "center", **changes: object) -> Member:
    built = views.build(name, crop_pixels=crop)
    parts = {
        "name": "a",
        "model": small_network(crop),
        "preprocessing": preprocessing(),
        "views": built,
    }
    return Member(**(parts | changes))


def digits(num: int = 61, side: int = 12, classes: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (num, 1, side, side), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, classes, (num,), generator=generator)


def in_batches(data: tuple[Tensor, Tensor], size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(data[0].split(size), data[1].split(size), strict=True))


@pytest.mark.parametrize("name", ["center", "ten_view"])
def test_61_images_in_any_batches_give_identical_counts(name):
    data = digits()
    both = [member(10, name), member(10, name, model=small_network(10, seed=1))]
    tallies = [evaluate(both, in_batches(data, size), num_classes=7) for size in (1, 7, 60, 61)]
    for tally in tallies[1:]:
        assert tally.num_images == 61
        assert torch.equal(tally.confusion, tallies[0].confusion)
        assert tally.top5_errors == tallies[0].top5_errors
        assert tally.cross_entropy == pytest.approx(tallies[0].cross_entropy, rel=1e-6)


def test_an_ensemble_of_one_is_the_network():
    images, labels = digits()
    one = member()
    kept = []
    evaluate([one], [(images, labels)], num_classes=7, observers=[lambda _, p: kept.append(p)])
    one.model.eval()
    with torch.no_grad():
        alone = one.model((images.float() - 120) / 60).softmax(1)
    assert torch.equal(kept[0][:, 0, 0], alone)


def test_members_with_other_sizes_and_class_orders_give_the_result_computed_by_hand():
    images, labels = digits(9)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    first = member(10, "ten_view")
    other = preprocessing(side=16)
    second = member(
        14, "ten_view", model=small_network(14, seed=3), preprocessing=other, class_order=order
    )
    kept = []
    tally = evaluate(
        [first, second],
        in_batches((images, labels), 4),
        num_classes=7,
        observers=[lambda _, p: kept.append(p.mean((1, 2)))],
    )
    expected = []
    for image in images:
        scores = []
        for one, classes in ((first, torch.arange(7)), (second, order)):
            one.model.eval()
            crops = one.views(one.preprocessing.prepare(image[None]))[0]
            with torch.no_grad():
                scores.append(
                    [one.model(one.preprocessing.normalize(c[None]))[0][classes] for c in crops]
                )
        expected.append(ensemble_probabilities(scores))
    expected_probabilities = torch.stack(expected)
    assert torch.allclose(torch.cat(kept), expected_probabilities, atol=1e-6)
    assert tally.top1_errors == int((expected_probabilities.argmax(1) != labels).sum())


def test_weights_favor_a_member():
    data = digits()
    first, second = member(), member(model=small_network(12, seed=1))
    alone = evaluate([first], [data], num_classes=7)
    first.weight, second.weight = 3.0, 0.0
    assert torch.equal(evaluate([first, second], [data], num_classes=7).confusion, alone.confusion)


def test_views_are_forwarded_in_parts_no_larger_than_the_batch():
    seen = []
    watched = member(10, "ten_view")
    watched.model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    evaluate([watched], [digits(25)], num_classes=7)
    assert max(seen) <= 25
    assert sum(seen) == 250
    seen.clear()
    watched.crops_at_once = 20
    evaluate([watched], [digits(25)], num_classes=7)
    assert seen == [20] * 12 + [10]


def test_each_modules_own_mode_is_restored():
    one = member()
    one.model.train()
    one.model[0].eval()  # a frozen part of a network in training
    evaluate([one], [digits()], num_classes=7)
    assert [m.training for m in one.model.modules()] == [True, False, True, True, True, True]
    one.model[4].bias.data.fill_(float("nan"))
    with pytest.raises(NumericsError):
        evaluate([one], [digits()], num_classes=7)
    assert one.model.training


def test_a_request_to_stop_is_followed_between_batches():
    data, answers = digits(), []
    with pytest.raises(EvaluationStopped):
        evaluate(
            [member()],
            in_batches(data, 20),
            num_classes=7,
            observers=[lambda labels, _: answers.append(len(labels))],
            should_stop=lambda: len(answers) == 2,
        )
    assert answers == [20, 20]


def test_no_images_are_an_error_not_a_metric():
    with pytest.raises(DataError, match="no images"):
        evaluate([member()], [], num_classes=7)
    with pytest.raises(DataError, match="no images"):
        evaluate([member()], [digits(0)], num_classes=7)


def test_training_can_continue_after_an_evaluation():
    one = member()
    evaluate([one], [digits()], num_classes=7)
    loss = one.model(torch.zeros(2, 1, 12, 12)).sum()
    loss.backward()
    assert one.model[0].weight.grad is not None
