import pytest
import torch

from cnnlab import data
from cnnlab.errors import DataError, UsageError
from tests.data.disk_formats import write_cifar100
from tests.data.settings import dataset_config


def test_cifar100_has_its_fine_labels_and_names(tmp_path) -> None:
    write_cifar100(tmp_path)
    splits = data.build(dataset_config("cifar100", root=str(tmp_path), num_validation=100))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (100, 100, 200)
    assert splits.train.class_names[17] == "thing 17"


def test_synthetic_images_are_the_same_every_time_and_differ_from_one_another() -> None:
    config = dataset_config("synthetic", num_train=60, num_test=20, num_classes=5, num_validation=0)
    first, second = data.build(config), data.build(config)
    everything = torch.arange(len(first.train))
    images = first.train.read(everything)
    assert torch.equal(images, second.train.read(everything))
    assert torch.equal(images[[7, 3]], first.train.read(torch.tensor([7, 3])))
    assert len({image.numpy().tobytes() for image in images}) == len(images)
    assert first.train.digest != first.test.digest


@pytest.mark.parametrize(("size", "channels", "num_classes"), [(16, 1, 2), (64, 3, 40)])
def test_synthetic_images_come_in_any_size_and_class_count(size, channels, num_classes) -> None:
    config = dataset_config(
        "synthetic", image_size_pixels=size, channels=channels, num_classes=num_classes
    )
    splits = data.build(config)
    assert splits.train.image_shape == (size, size, channels)
    assert splits.train.labels.unique().tolist() == list(range(num_classes))


def test_synthetic_classes_can_be_told_apart_by_their_mean_image() -> None:
    splits = data.build(dataset_config("synthetic", num_validation=0))
    train = splits.train.read(torch.arange(len(splits.train))).float().flatten(1)
    test = splits.test.read(torch.arange(len(splits.test))).float().flatten(1)
    means = torch.stack([train[splits.train.labels == k].mean(0) for k in range(10)])
    nearest = torch.cdist(test, means).argmin(1)
    assert (nearest == splits.test.labels).float().mean() > 0.5


def test_more_classes_than_images_are_refused() -> None:
    with pytest.raises(UsageError, match="num_classes"):
        data.build(dataset_config("synthetic", num_classes=3000))


def test_a_permutation_moves_the_pixels_of_all_splits_alike() -> None:
    plain = data.build(dataset_config("mnist5k"))
    shuffled = data.build(dataset_config("mnist5k", permutation_seed=3))
    for before, after in ((plain.train, shuffled.train), (plain.test, shuffled.test)):
        one, two = before.read(torch.arange(50)), after.read(torch.arange(50))
        assert not torch.equal(one, two)
        assert torch.equal(one.flatten(1).sort(1).values, two.flatten(1).sort(1).values)
        assert torch.equal(before.labels, after.labels)
    order = shuffled.train._order
    test = plain.test.read(torch.arange(9)).flatten(1)[:, order]
    assert torch.equal(shuffled.test.read(torch.arange(9)).flatten(1), test)
    again = data.build(dataset_config("mnist5k", permutation_seed=4))
    assert again.train.digest != shuffled.train.digest


def test_permuted_images_are_not_mirrored_or_taken_for_the_set() -> None:
    splits = data.build(dataset_config("mnist5k", permutation_seed=3))
    assert not splits.train.mirror_allowed
    assert "pixels permuted" in splits.validation.describe()


def test_no_store_is_told(tmp_path) -> None:
    for root in (None, str(tmp_path)):
        with pytest.raises(DataError, match="no prepared Store"):
            data.build(dataset_config("store", root=root))
