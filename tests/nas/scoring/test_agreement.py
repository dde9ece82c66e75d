"""How well a short score measures architectures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nas.scoring.agreement import averaged, reliability, tau, tau_interval, with_noise, without_noise

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""The example of Shrout and Fleiss (1979, table 2): six targets, four judges."""


@pytest.mark.parametrize(("shared", "printed"), [(False, 0.17), (True, 0.71)])
def test_reliability_is_that_of_the_example_in_the_literature(shared: bool, printed: float) -> None:
    assert reliability(SHROUT_FLEISS, shared=shared) == pytest.approx(printed, abs=0.005)


def drawn(architectures: int, seeds: int, noise: float, of_seed: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    own, seed = rng.normal(0, 1, (architectures, 1)), rng.normal(0, of_seed, (1, seeds))
    return own + seed + rng.normal(0, noise, (architectures, seeds))


def test_reliability_is_the_share_of_the_variance_that_is_the_architectures() -> None:
    assert reliability(drawn(4_000, 3, 0.5), shared=True) == pytest.approx(1 / 1.25, abs=0.02)
    assert reliability(drawn(4_000, 3, 0.5), shared=False) == pytest.approx(1 / 1.25, abs=0.02)


def test_what_a_seed_does_to_all_alike_is_no_noise_where_all_share_it() -> None:
    scores = drawn(4_000, 2, 0.5, of_seed=2.0)
    assert reliability(scores, shared=True) == pytest.approx(1 / 1.25, abs=0.02)
    assert reliability(scores, shared=False) < 0.7


def test_one_seed_tells_nothing_of_the_reliability() -> None:
    assert np.isnan(reliability(SHROUT_FLEISS[:, :1], shared=True))


def test_the_mean_of_several_trainings_is_as_reliable_as_the_formula_says() -> None:
    scores = drawn(20_000, 6, 1.0)
    halves = scores.reshape(20_000, 2, 3).mean(axis=2)
    assert reliability(halves, shared=True) == pytest.approx(averaged(0.5, 3), abs=0.02)


@given(st.floats(-1, 1), st.floats(0.3, 1), st.floats(0.3, 1))
def test_noise_and_its_removal_undo_each_other(value: float, one: float, other: float) -> None:
    assert without_noise(with_noise(value, one, other), one, other) == pytest.approx(value, abs=1e-6)


def test_the_removal_of_noise_finds_the_tau_beneath() -> None:
    rng = np.random.default_rng(1)
    own = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 4_000)
    beneath = kendalltau(*own.T).statistic
    scores, truth = (own[:, [column]] + rng.normal(0, 0.7, (4_000, 2)) for column in (0, 1))
    seen = tau(scores[:, :1], truth[:, :1])
    assert seen < beneath - 0.1
    reliabilities = [reliability(each, shared=False) for each in (scores, truth)]
    assert without_noise(seen, *reliabilities) == pytest.approx(beneath, abs=0.03)


def test_tau_is_that_of_each_seed_with_the_mean_of_the_full_trainings() -> None:
    scores = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    truth = np.array([[1.0, 1.0], [4.0, 0.0], [3.0, 4.0]])  # in the mean 1, 2, 3.5
    assert tau(scores[:, :1], truth) == 1
    assert tau(scores, truth) == 0
    assert tau(scores[:, 1:], truth) == -1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_tau_is_scipys_with_ties_as_well(pairs: list[tuple[int, int]]) -> None:
    left, right = np.array(pairs, float).T
    ours, theirs = tau(left[:, None], right[:, None]), kendalltau(left, right).statistic
    assert ours == pytest.approx(theirs, nan_ok=True)


def test_the_interval_of_tau_holds_it_and_narrows_with_more_architectures() -> None:
    few, many = (tau_interval(drawn(number, 1, 0.5), drawn(number, 1, 0.0)) for number in (20, 200))
    for each in (few, many):
        assert each.low < each.value < each.high
    assert many.high - many.low < (few.high - few.low) / 2


def test_scores_or_full_trainings_that_are_all_the_same_have_no_tau() -> None:
    same, others = np.full((6, 2), 0.5), drawn(6, 2, 0.5)
    for scores, truth in ((same, others), (others, same)):
        assert all(np.isnan(tau_interval(scores, truth)))
    assert np.isnan(reliability(same, shared=True))
