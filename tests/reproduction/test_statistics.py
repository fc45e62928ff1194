"""Intervals against scipy's, and verdicts on given numbers."""

import pytest
from scipy import stats

from cnnlab.config import claims
from cnnlab.config.claims import ClaimConfig
from cnnlab.intervals import critical_t, interval
from cnnlab.reproduction.verdict import compare, contrast, exact, verdict


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30, 101, 9_999])
def test_the_critical_t_is_scipys(degrees: int) -> None:
    assert critical_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


def test_the_interval_of_paired_differences_is_scipys() -> None:
    values = [0.013, -0.002, 0.021, 0.008, 0.0]
    found = interval(values)
    scale = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / 5, scale=scale)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.num_values == 5


def test_one_pair_has_no_interval() -> None:
    found = interval([0.5])
    assert (found.mean, found.half_width, found.low, found.high) == (0.5, None, None, None)


@pytest.fixture(scope="module")
def of_seeds() -> ClaimConfig:
    return claims.read("lrn_helps")


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([0.010, 0.012, 0.011], "holds"),
        ([-0.010, -0.012, -0.011], "does not hold here"),
        ([0.010, -0.012, 0.011], "undecided (3 seeds)"),
        ([0.0, 0.0, 0.0], "undecided (3 seeds, none differs)"),
        ([0.5], "undecided (1 seed)"),
    ],
)
def test_a_verdict_is_the_side_of_zero_on_which_the_whole_interval_lies(
    of_seeds: ClaimConfig, differences: list[float], said: str
) -> None:
    assert verdict(of_seeds, interval(differences)) == said


def test_figures_are_paired_by_seed(of_seeds: ClaimConfig) -> None:
    """Seeds that differ by more than the arms do not hide a difference that each of them shows."""
    without, normalized = [0.30, 0.20, 0.10], [0.29, 0.189, 0.091]
    found = compare(of_seeds, [1, -1], [without, normalized])
    assert found.mean == pytest.approx(0.01)
    assert verdict(of_seeds, found) == "holds"


def test_an_interaction_is_a_sum_with_factors() -> None:
    cnn, shuffled_cnn, mlp, shuffled_mlp = [0.02], [0.10], [0.05], [0.06]
    assert contrast([-1, 1, 1, -1], [cnn, shuffled_cnn, mlp, shuffled_mlp]) == [pytest.approx(0.07)]


def test_ratios_are_compared_by_their_logarithms() -> None:
    claim = claims.read("relu_against_tanh")
    found = compare(claim, [1, -1], [[200, 400, 300], [100, 200, 150]])
    assert found.mean == pytest.approx(0.6931471805599453)
    assert found.half_width == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([0.007, 0.0072, 0.0071], "holds"),
        ([0.021, 0.022, 0.020], "does not hold here"),
        ([0.0090, 0.0100, 0.0096], "undecided (3 seeds)"),
    ],
)
def test_a_level_is_compared_with_the_whole_interval_of_the_arm(
    errors: list[float], said: str
) -> None:
    claim = claims.read("lenet5_1998_error")
    assert claim.level == 0.0095
    assert verdict(claim, compare(claim, [-1], [errors])) == said


def test_a_computed_figure_must_have_the_printed_digits() -> None:
    assert exact([57_409_444], [57_409_444.0]) == "holds"
    assert exact([0.9596], [0.95958]) == "holds"
    assert exact([0.9596], [0.9598]) == "does not hold here"
    assert exact([11, 19], [11.0]) == "does not hold here"
