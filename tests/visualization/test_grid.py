import torch

from cnnlab.visualization import grid


def test_tiles_keep_their_rows_columns_and_colors():
    pictures = torch.arange(3 * 3 * 2 * 2, dtype=torch.float32).view(3, 3, 2, 2)
    sheet = grid.tile(pictures, columns=2, gap_pixels=1, fill=-1)
    assert sheet.shape == (3, 5, 5)
    assert torch.equal(sheet[:, :2, :2], pictures[0])
    assert torch.equal(sheet[:, :2, 3:], pictures[1])
    assert torch.equal(sheet[:, 3:, :2], pictures[2])
    assert (sheet[:, 2] == -1).all()
    assert (sheet[:, 3:, 3:] == -1).all()


def test_rows_can_stand_further_apart_than_columns():
    assert grid.tile(torch.zeros(4, 1, 3, 3), 2, 1, row_gap_pixels=4).shape == (1, 10, 7)


def test_zero_is_gray_and_the_largest_magnitude_reaches_an_end():
    scaled = grid.signed_to_gray(torch.tensor([[[-4.0, 0.0, 2.0]], [[0.0, 0.0, 0.0]]]))
    assert scaled.tolist() == [[[0.0, 0.5, 0.75]], [[0.5, 0.5, 0.5]]]


def test_stretching_uses_each_pictures_own_range():
    scaled = grid.positive_to_gray(torch.tensor([[[1.0, 3.0]], [[5.0, 5.0]]]))
    assert scaled.tolist() == [[[0.0, 1.0]], [[0.0, 0.0]]]


def test_shrinking_bounds_the_longer_side_and_leaves_small_ones():
    pictures = torch.rand(2, 3, 100, 50)
    assert grid.shrink(pictures, 40).shape == (2, 3, 40, 20)
    assert grid.shrink(pictures, 100) is pictures


def test_gray_becomes_color_and_color_stays():
    assert grid.to_rgb(torch.rand(2, 1, 4, 4)).shape == (2, 3, 4, 4)
    color = torch.rand(2, 3, 4, 4)
    assert grid.to_rgb(color) is color
