"""The race at the end of a search."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget.errors import UserError
from nas.strategy.race import FINALISTS, Round, entrants, repetitions, rounds, survivors

FIELD = {"short": 2_048, "full": 6 * 6_489, "ways": 5, "seed": 0}


def test_the_race_of_the_field_set_is_the_one_that_is_reckoned_by_hand() -> None:
    race = rounds(budget=24 * FIELD["full"], **FIELD)
    # 38,934 is halved while more than 2,048 are left: 2,433, 4,866, 9,733, 19,467; the field doubles backwards from 2.
    assert [(each.entrants, each.runs[0].samples) for each in race] == [
        (32, 2_433), (16, 4_866), (8, 9_733), (4, 19_467), (2, 38_934)
    ]  # fmt: skip
    # 33 x 2,433 + 17 x 4,866 + 9 x 9,733 + 5 x 19,467 = 347,943; of 934,416 that leaves 586,473, which is once
    # 3 x 5 x 38,934 = 584,010.
    assert sum(each.cost for each in race[:-1]) == 347_943
    assert [run.way for run in race[-1].runs] == [0, 1, 2, 3, 4]


@given(
    short=st.integers(1, 5_000), full=st.integers(1, 50_000), more=st.floats(0, 20), ways=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_a_race_keeps_its_budget_and_its_trainings_grow_while_the_field_shrinks(
    short: int, full: int, more: float, ways: int, seed: int
) -> None:
    budget = int((150 + more) * full)
    race = rounds(short=short, full=full, budget=budget, ways=ways, seed=seed)
    assert sum(each.cost for each in race) <= budget
    assert race[-1].entrants == FINALISTS
    assert {run.samples for run in race[-1].runs} == {full}
    last = race[-repetitions(race) :]
    assert {each.entrants for each in last} == {FINALISTS}
    for one, following in pairwise(race[: len(race) - len(last) + 1]):
        assert one.entrants == 2 * following.entrants
        assert short < one.runs[0].samples < following.runs[0].samples
    seeds = [run.seed for each in race for run in each.runs]
    assert len(set(seeds)) == len(seeds)
    assert all([run.way for run in each.runs] == list(range(ways)) for each in last)


def test_a_budget_that_is_too_small_is_refused_with_the_least_that_suffices() -> None:
    with pytest.raises(UserError, match="`--race 24`"):
        rounds(budget=23 * FIELD["full"], **FIELD)
    assert rounds(budget=24 * FIELD["full"], **FIELD)


def test_a_larger_budget_repeats_the_last_round_with_other_seeds() -> None:
    small, large = (rounds(budget=budget * FIELD["full"], **FIELD) for budget in (24, 39))
    assert large[:-1] == small
    assert (repetitions(small), repetitions(large)) == (1, 2)
    assert not {run.seed for run in large[-1].runs} & {run.seed for run in large[-2].runs}


def test_every_range_of_macs_sends_its_best_before_any_sends_its_second() -> None:
    points = [(0.5, 29e6), (0.6, 28e6), (0.4, 3e6), (0.3, 2e6), (0.45, 16e6), (0.1, 30e6)]
    assert entrants(points, 2, max_macs=30e6) == [1, 4], "few places go to the best ranges, not to the cheapest ones"
    assert entrants(points, 4, max_macs=30e6) == [1, 4, 2, 0]
    assert entrants(points, 9, max_macs=30e6) == [1, 4, 2, 0, 3, 5]


def test_those_go_on_that_win_most_accuracy_or_save_most_macs() -> None:
    points = {1: (0.60, 28e6), 2: (0.58, 12e6), 3: (0.57, 27e6), 4: (0.30, 2e6)}
    assert survivors(points, 2, baseline=0.55, max_macs=30e6) == [2, 1]
    assert survivors(points, 3, baseline=0.55, max_macs=30e6) == [2, 1, 3]
    assert survivors(points, 9, baseline=0.55, max_macs=30e6) == [2, 1, 3, 4], "cheap, but far worse than the baseline"


def test_the_cost_of_a_round_counts_the_baseline() -> None:
    assert Round(4, rounds(budget=24 * FIELD["full"], **FIELD)[3].runs).cost == 5 * 19_467
