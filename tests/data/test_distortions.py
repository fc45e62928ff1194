import numpy as np
import pytest
import torch
from torch import Tensor

from cnnlab import images as pixels
from cnnlab.data.augment import Crop, build_augment, draw_corners
from cnnlab.data.distortions import Affine, ColorShift, ResizedCrop, color_directions
from cnnlab.data.moments import Sums, principal_components
from cnnlab.data.store import StoredStatistics
from cnnlab.distributed.share import RankSlice
from cnnlab.errors import UsageError
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import make_generator
from tests.data.augmented import augmented
from tests.data.settings import augment_config
from tests.reference import images as reference
from tests.reference import moments as reference_moments

IMAGENET_COVARIANCE = torch.tensor(
    [[5092.0, 4433, 3995], [4433, 4833, 4575], [3995, 4575, 5333]], dtype=torch.float64
)
"""Of 1.2 million training images at 0..255, as users of AlexNet computed and published it."""


STATISTICS = StoredStatistics(
    mean=torch.full((3,), 120.0, dtype=torch.float64),
    std=IMAGENET_COVARIANCE.diagonal().sqrt(),
    covariance=IMAGENET_COVARIANCE,
    mean_image=torch.rand(9, 9, 3, dtype=torch.float64) * 255,
)


def random_images(num: int = 5, channels: int = 3, side: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (num, channels, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def generator(step: int = 0) -> torch.Generator:
    return make_generator(0, "augment", step)


def test_affine_equals_looking_up_each_pixel() -> None:
    images = random_images()
    matrices = Affine(0.1, 0.2, 0.1, 0.3).draw(5, 9, generator())
    found = pixels.affine(images, matrices)
    for image, matrix, result in zip(images, matrices, found, strict=True):
        expected = reference.affine(image.numpy(), matrix.double().numpy())
        np.testing.assert_allclose(result, expected, atol=2e-3)  # float32 places, 255 levels


def test_affine_of_size_zero_changes_nothing() -> None:
    images = random_images()
    torch.testing.assert_close(
        augmented(Affine(0, 0, 0, 0), images, generator()), images.float(), atol=1e-3, rtol=0
    )


def test_affine_shifts_by_the_stated_share_of_the_side() -> None:
    images = torch.zeros(2000, 1, 33, 33)
    images[:, :, 16, 16] = 1
    moved = augmented(Affine(0.25, 0, 0, 0), images, generator())
    columns = (moved.sum((1, 2)) * torch.arange(33)).sum(1) / moved.sum((1, 2, 3)) - 16
    assert 8.0 < columns.abs().max() <= 33 * 0.25 + 1e-3
    assert abs(columns.mean()) < 0.5


def test_resized_crop_equals_looking_up_each_pixel() -> None:
    images = random_images(side=11)
    boxes = ResizedCrop(7, 0.3).draw(5, 11, generator())
    found = pixels.resized_boxes(images, boxes, 7)
    for image, box, result in zip(images, boxes, found, strict=True):
        expected = reference.resized_box(image.numpy(), tuple(box.tolist()), 7)
        np.testing.assert_allclose(result, expected, atol=2e-3)


def test_resized_crops_lie_in_the_image_and_have_the_stated_areas() -> None:
    top, left, height, width = ResizedCrop(8, 0.08).draw(20_000, 100, generator()).unbind(1)
    assert min(top.min(), left.min()) >= 0
    assert max((top + height).max(), (left + width).max()) <= 100 + 1e-3
    area = height * width / 1e4
    assert area.min() < 0.1
    assert area.max() > 0.95
    assert (width / height).max() <= 4 / 3 + 1e-3


def test_principal_components_equal_numpys_of_all_pixels() -> None:
    images = torch.randint(
        0, 256, (70, 13, 11, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    images[..., 1] = images[..., 0] // 2 + images[..., 1] // 2

    sums = Sums.empty((13, 11, 3))
    for part in images.split(17):
        sums.add(part)

    values, vectors = principal_components(sums.statistics().covariance)
    expected = reference_moments.principal_components(images.numpy())
    np.testing.assert_allclose(values, expected[0], rtol=1e-9)
    for k in range(3):
        assert abs(vectors[:, k].numpy() @ expected[1][:, k]) == pytest.approx(1, abs=1e-9)
        assert vectors[:, k].abs().max() == vectors[:, k].max()


def test_imagenets_covariance_gives_the_published_constants() -> None:
    values, vectors = principal_components(IMAGENET_COVARIANCE)
    published_values = torch.tensor([0.2175, 0.0188, 0.0045], dtype=torch.float64)
    torch.testing.assert_close(values / 255**2, published_values, rtol=0.04, atol=0)  # a sample
    published = torch.tensor(  # fb.resnet.torch's eigenvectors, one a column
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
        dtype=torch.float64,
    )
    assert ((vectors * published).sum(0).abs() > 0.999).all()


def test_the_first_component_shifts_by_the_levels_that_each_reading_means() -> None:
    values, vectors = principal_components(IMAGENET_COVARIANCE)
    for scale, levels in (("stdev", 11.73), ("eigenvalue", 5.395)):
        shift = ColorShift(color_directions(values, vectors, scale), 0.1)
        drawn = shift.draw(200_000, 9, generator()) @ vectors[:, 0].float()
        assert drawn.std() == pytest.approx(levels, rel=0.01)


def test_color_shift_equals_the_formula() -> None:
    images = random_images(4)
    values, vectors = principal_components(IMAGENET_COVARIANCE)
    shift = ColorShift(color_directions(values, vectors, "stdev"), 0.1)
    factors = 0.1 * torch.empty(4, 3).normal_(generator=generator())
    expected = reference.shift_colors(
        images.numpy(), factors.numpy(), values.numpy(), vectors.numpy()
    )
    np.testing.assert_allclose(augmented(shift, images, generator()), expected, atol=1e-3)


def test_color_shift_by_deviations_is_the_same_at_any_scale_of_pixels() -> None:
    images = random_images(4).float()
    values, vectors = principal_components(IMAGENET_COVARIANCE)
    whole = ColorShift(color_directions(values, vectors, "stdev"), 0.1)
    small = ColorShift(color_directions(values / 255**2, vectors, "stdev"), 0.1)
    torch.testing.assert_close(
        augmented(small, images / 255, generator()) * 255,
        augmented(whole, images, generator()),
        atol=1e-3,
        rtol=1e-5,
    )


AUGMENTS = {
    "affine": {},
    "alexnet": {"crop_pixels": 8},
    "resized_crop": {"crop_pixels": 6},
}


@pytest.mark.parametrize("name", AUGMENTS)
def test_the_step_alone_decides_and_processes_agree(name: str) -> None:
    config = augment_config(name, **AUGMENTS[name])
    augment = build_augment(config, mirror_allowed=True, statistics=lambda: STATISTICS)
    images = random_images(8)
    torch.manual_seed(1)
    whole = augmented(augment, images, generator(3))
    torch.manual_seed(2)
    assert torch.equal(augmented(augment, images, generator(3)), whole)
    assert not torch.equal(augmented(augment, images, generator(4)), whole)
    assert whole.shape[-1] == augment.output_size(9)
    second = augmented(augment, images[3:], generator(3), RankSlice(3, 8, total=8))
    torch.testing.assert_close(second, whole[3:], atol=1e-4, rtol=0)


def test_the_source_of_2012_draws_once_for_32_neighbors_and_divides() -> None:
    config = augment_config(
        "alexnet", crop_pixels=8, images_per_draw=32, color_divides=True, color_strength=0.1
    )
    augment = build_augment(config, mirror_allowed=True, statistics=lambda: STATISTICS)
    images = random_images(1).expand(70, -1, -1, -1)

    found = augmented(augment, images, generator())
    paper = augment_config("alexnet", crop_pixels=8, images_per_draw=32)
    plain = build_augment(paper, mirror_allowed=True, statistics=lambda: STATISTICS)
    mean = pixels.center_crop(STATISTICS.mean_image.float().permute(2, 0, 1), 8)
    expected = mean + (augmented(plain, images, generator()) - mean) / 1.1
    torch.testing.assert_close(found, expected)

    none = augment_config("alexnet", crop_pixels=8, images_per_draw=32, color_scale="none")
    cut = augmented(build_augment(none, mirror_allowed=True), images, generator())
    for chunk in cut.split(32):
        assert torch.equal(chunk, chunk[:1].expand_as(chunk))
    assert not torch.equal(cut[0], cut[32]) or not torch.equal(cut[32], cut[64])


def test_the_mean_under_the_crop_is_subtracted_where_that_is_asked_for() -> None:
    mean = torch.rand(3, 9, 9) * 255
    images = random_images(6)
    preprocessing = Preprocessing(3, 9, 0, mean, torch.ones(3))
    corners = draw_corners(6, 4, generator())
    cropped = preprocessing.normalize(augmented(Crop(0, 5, mean=mean), images, generator()))
    expected = reference.crop((images - mean).numpy(), corners.tolist(), 5)
    np.testing.assert_allclose(cropped, expected, atol=1e-3)
    central = preprocessing.normalize(augmented(Crop(0, 5), images, generator()))
    assert (central - cropped).abs().max() > 10


@pytest.mark.parametrize("name", ["alexnet", "resized_crop"])
def test_signs_are_not_mirrored_unless_forced(name: str) -> None:
    with pytest.raises(UsageError, match="changes the class of digits and signs"):
        build_augment(augment_config(name), mirror_allowed=False)


def test_color_shifts_of_gray_images_are_refused() -> None:
    values, vectors = principal_components(IMAGENET_COVARIANCE)
    shift = ColorShift(color_directions(values, vectors, "stdev"), 0.1)
    with pytest.raises(UsageError, match="3 channels on 1 channels"):
        augmented(shift, random_images(channels=1), generator())


def test_an_affine_distortion_without_effect_is_refused() -> None:
    nothing = {"shift_fraction": 0.0, "scale_fraction": 0.0, "squeeze_fraction": 0.0, "shear": 0.0}
    with pytest.raises(UsageError, match="no effect"):
        build_augment(augment_config("affine", **nothing), mirror_allowed=False)
