"""The lecture's arithmetic, against torch and against the published tables."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cnnlab import geometry
from cnnlab.geometry import ReceptiveField, Window, output_size, smallest_input, trace_sizes

sizes = st.integers(1, 40)
kernels = st.integers(1, 7)
strides = st.integers(1, 5)
dilations = st.integers(1, 3)
lecture = settings(max_examples=60, deadline=None)


@lecture
@given(sizes, kernels, strides, st.integers(0, 3), dilations)
def test_output_size_is_that_of_a_torch_convolution(size, kernel, stride, padding, dilation):
    predicted = output_size(size, kernel, stride, padding, dilation)
    if predicted < 1:
        assert size + 2 * padding < dilation * (kernel - 1) + 1
        return
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
    assert layer(torch.zeros(1, 1, size, size)).shape[-1] == predicted


@lecture
@given(sizes, kernels, strides, st.booleans(), dilations, st.data())
def test_output_size_is_that_of_torch_max_pooling(size, kernel, stride, ceil, dilation, data):
    padding = data.draw(st.integers(0, kernel // 2))  # torch allows no more
    predicted = output_size(size, kernel, stride, padding, dilation, ceil)
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if predicted < 1 or room < 0:
        return
    layer = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)
    assert layer(torch.zeros(1, 1, size, size)).shape[-1] == predicted


@pytest.mark.parametrize(
    ("size", "window"),
    [
        (224, Window(11, stride=4, ceil=True)),
        (227, Window(11, stride=4)),
        (224, Window(11, stride=4, padding=2)),
    ],
)
def test_each_way_into_alexnet_gives_55(size, window):
    assert window.output_size(size) == 55


def test_the_papers_224_without_padding_gives_54_by_the_lectures_formula():
    assert output_size(224, 11, 4) == 54


def test_the_last_window_of_the_2012_source_hangs_over_by_three_pixels():
    assert Window(11, stride=4, ceil=True).overhang(224) == 3
    assert Window(11, stride=4).overhang(227) == 0


def test_same_padding_keeps_the_size():
    assert [output_size(17, k, padding=(k - 1) // 2) for k in (1, 3, 5, 7)] == [17] * 4


def test_a_window_that_does_not_fit_has_no_positions():
    assert output_size(2, 3, 2) == 0
    assert output_size(1, 11, 4) == 0


def test_smallest_input_is_the_first_size_at_which_all_windows_fit():
    windows = {"conv": Window(5), "pool": Window(3, stride=2)}
    least = smallest_input(windows)
    assert min(trace_sizes(least, windows).values()) == 1
    assert min(trace_sizes(least - 1, windows).values()) == 0


def test_receptive_fields_of_lenet5_are_the_published_ones():
    field, seen = ReceptiveField(), []
    for window in (Window(5), Window(2, stride=2), Window(5), Window(2, stride=2), Window(5)):
        field = field.through(window)
        seen.append((field.size_pixels, field.jump_pixels))
    assert seen == [(5, 1), (6, 2), (14, 2), (16, 4), (32, 4)]


@lecture
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1)), max_size=3))
def test_receptive_field_is_where_the_gradient_of_one_unit_is_not_zero(stack):
    windows = [Window(kernel, stride, padding) for kernel, stride, padding in stack]
    size, unit = 200, 3  # far enough from the edges that no unit of any layer sees padding
    images = torch.zeros(1, 1, 1, size, dtype=torch.float64, requires_grad=True)
    maps, field = nn.functional.pad(images, (0, 0)), ReceptiveField()
    for window in windows:
        weight = torch.ones(1, 1, 1, window.kernel, dtype=torch.float64)
        maps = nn.functional.conv2d(maps, weight, None, (1, window.stride), (0, window.padding))
        field = field.through(window)
    maps[0, 0, 0, unit].backward()
    seen = images.grad.nonzero()[:, -1]
    first = field.start_pixels + unit * field.jump_pixels
    assert first == seen.min()
    assert first + field.size_pixels - 1 == seen.max()


def test_parameter_formulas_count_what_torch_allocates():
    assert geometry.conv_parameters(48, 128, 5) == _count(nn.Conv2d(48, 128, 5))
    assert geometry.conv_parameters(96, 256, 5, groups=2) == _count(nn.Conv2d(96, 256, 5, groups=2))
    assert geometry.fc_parameters(84, 10) == _count(nn.Linear(84, 10))


def test_formula_shows_the_numbers_put_in():
    window = Window(11, stride=4, padding=2)
    assert window.formula(224) == "floor((224 + 2·2 - 1·(11 - 1) - 1)/4 + 1) = 55"


def _count(module):
    return sum(parameter.numel() for parameter in module.parameters())
