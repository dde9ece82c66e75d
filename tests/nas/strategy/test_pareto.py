"""Fronts, layers and hypervolume of points of accuracy and MACs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.strategy.pareto import Point, front, gains, hypervolume, layers, losses, ranking

POINTS = st.lists(st.tuples(st.floats(0, 1), st.floats(1, 30)), max_size=12)
COARSE = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.sampled_from([1.0, 2.0, 3.0])), max_size=12)
"""With many equal accuracies, MACs and points."""


def beats(one: Point, other: Point) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def test_hypervolume_by_hand() -> None:
    """(0.5, 10) and (0.8, 20) in the box to (0.1, 30): 0.4 x 20 + 0.3 x 10; a dominated point adds nothing."""
    assert hypervolume([(0.5, 10), (0.8, 20), (0.4, 15)], reference=(0.1, 30)) == pytest.approx(0.4 * 20 + 0.3 * 10)
    assert hypervolume([(0.05, 10), (0.9, 31)], reference=(0.1, 30)) == 0


@given(POINTS, st.tuples(st.floats(0, 1), st.floats(1, 30)))
def test_hypervolume_never_shrinks_and_ignores_order(
    points: list[tuple[float, float]], one: tuple[float, float]
) -> None:
    before = hypervolume(points, reference=(0.1, 30))
    assert hypervolume([*points, one], reference=(0.1, 30)) >= before - 1e-12
    assert hypervolume(points[::-1], reference=(0.1, 30)) == pytest.approx(before)


@given(POINTS)
def test_hypervolume_agrees_with_counting_random_points_of_the_box(points: list[tuple[float, float]]) -> None:
    rng = np.random.default_rng(0)
    box = np.column_stack([rng.uniform(0, 1, 20_000), rng.uniform(0, 30, 20_000)])
    covered = np.zeros(len(box), dtype=bool)
    for accuracy, macs in points:
        covered |= (box[:, 0] <= accuracy) & (box[:, 1] >= macs)
    assert hypervolume(points, reference=(0.0, 30)) / 30 == pytest.approx(covered.mean(), abs=0.02)


@given(st.one_of(POINTS, COARSE))
def test_each_layer_is_what_nothing_beats_once_the_layers_before_it_are_gone(points: list[Point]) -> None:
    left = set(range(len(points)))
    for layer in layers(points):
        unbeaten = {index for index in left if not any(beats(points[other], points[index]) for other in left)}
        assert {points[index] for index in layer} == {points[index] for index in unbeaten}
        assert len({points[index] for index in layer}) == len(layer), "equal points lie on layers of their own"
        assert [points[index][1] for index in layer] == sorted(points[index][1] for index in layer)
        left -= set(layer)
    assert not left
    assert front(points) == (layers(points)[0] if points else [])


@given(POINTS)
def test_a_loss_is_the_hypervolume_with_a_point_less_that_without_it(points: list[Point]) -> None:
    best, reference = [points[index] for index in front(points)], (0.1, 25.0)
    whole = hypervolume(best, reference=reference)
    for place, loss in enumerate(losses(best, reference=reference)):
        without = hypervolume([*best[:place], *best[place + 1 :]], reference=reference)
        assert loss == pytest.approx(whole - without, abs=1e-9)


@given(st.one_of(POINTS, COARSE))
def test_a_ranking_holds_every_point_once_and_none_behind_one_that_it_beats(points: list[Point]) -> None:
    ranked = ranking(points, reference=(0.1, 30))
    assert sorted(ranked) == list(range(len(points)))
    for place, index in enumerate(ranked):
        assert not any(beats(points[index], points[before]) for before in ranked[:place])


def test_a_ranking_by_hand() -> None:
    """Of the front (0.4, 10), (0.5, 20), (0.8, 25) the points alone hold 0.3 x 10, 0.1 x 5 and 0.3 x 5."""
    points = [(0.5, 20.0), (0.8, 25.0), (0.4, 10.0), (0.3, 12.0)]
    assert losses([points[2], points[0], points[1]], reference=(0.1, 30)) == pytest.approx([3.0, 0.5, 1.5])
    assert ranking(points, reference=(0.1, 30)) == [2, 1, 0, 3]


@given(POINTS, st.lists(st.tuples(st.floats(0, 1), st.floats(1, 40)), min_size=1, max_size=5))
def test_what_points_gain_is_what_the_hypervolume_grows_by_with_each(
    points: list[tuple[float, float]], new: list[tuple[float, float]]
) -> None:
    reference = (0.1, 30.0)
    best = [points[index] for index in front(points)]
    grown = [hypervolume([*points, one], reference=reference) - hypervolume(points, reference=reference) for one in new]
    assert gains(new, best, reference=reference) == pytest.approx(grown, abs=1e-9)
