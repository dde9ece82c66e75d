"""The result of a search, and what counts as better."""

import re
from dataclasses import replace
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from made_up import add_race, add_retraining, scored, stored
from optuna.trial import create_trial
from scipy.stats import multivariate_t
from scipy.stats import t as student_t

from budget.limits import Limits
from nas.export import _knee
from nas.results.finalists import (
    Finalist,
    dunnett_quantile,
    finalists,
    hypervolume_history,
    weak_teachers,
    what_it_would_take,
)
from nas.results.importance import importances
from nas.space.space import Space, encodings
from nas.strategy.propose import Proposal, Rules
from nas.strategy.race import Run
from nas.strategy.surrogate import LEAST
from nas.views.figures import draw_importance, draw_pareto


def test_the_front_of_few_candidates_is_what_optuna_calls_best(tmp_path: Path) -> None:
    store = stored(tmp_path, np.random.default_rng(0).uniform(0.3, 0.8, LEAST - 1).tolist())
    assert {candidate.number for candidate in store.front()} == {trial.number for trial in store.study.best_trials}
    macs = [candidate.macs for candidate in store.front()]
    assert macs == sorted(macs)


def test_an_architecture_is_better_only_where_its_interval_says_so(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9, 0.9, 0.2])
    given = {0: (0.50, 0.52, 0.48), 1: (0.70, 0.72, 0.68), 2: (0.51, 0.55, 0.47), 3: (0.30, 0.32, 0.28)}
    for number, scores in given.items():
        add_race(store, number, dict(enumerate(scores)))
    verdicts = {entry.candidate.number: entry.verdict for entry in finalists(store)}
    assert verdicts == {0: "the baseline", 1: "better", 2: "not told apart", 3: "worse"}
    entry = next(entry for entry in finalists(store) if entry.candidate.number == 1)
    assert entry.difference == pytest.approx(0.20)
    assert entry.low < 0.20 < entry.high


def test_means_and_their_difference_rest_on_the_runs_that_all_have(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    add_race(store, 0, {0: 0.50, 1: 0.52, 2: 0.90})
    add_race(store, 1, {0: 0.60, 1: 0.64})
    baseline, rival = sorted(finalists(store), key=lambda entry: entry.candidate.number)
    assert baseline.accuracies == (0.50, 0.52)
    assert rival.difference == pytest.approx(rival.mean - baseline.mean)


def test_without_a_race_of_table_1_nothing_is_called_better(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    add_race(store, 1, {0: 0.9, 1: 0.9})
    assert finalists(store) == []


def test_another_candidate_that_is_quicker_than_table_1_is_not_taken_for_it(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9, 0.4])
    assert store.baseline is store.candidates[0]
    store.candidates = store.candidates[1:]
    assert store.baseline is None
    (_, svg) = draw_pareto(store)
    assert "Table 1" not in svg.read_text()


def test_the_hypervolume_grows_trial_by_trial(tmp_path: Path) -> None:
    history = hypervolume_history(stored(tmp_path, [0.5, 0.9, 0.4, 0.95]))
    grown = history["hypervolume"]
    assert history["samples"].tolist() == [1, 2, 3, 4]
    assert (grown.diff().dropna() >= 0).all()
    assert 0 < grown.iloc[0] < grown.iloc[-1] < 1


def test_importance_waits_for_enough_trials_and_then_finds_what_the_score_depends_on(tmp_path: Path) -> None:
    assert draw_importance(stored(tmp_path, [0.5] * 5)) == []
    store = stored(tmp_path, [0.0] * 2)
    rules, rng = Rules(Space(), Limits(), "float16"), np.random.default_rng(0)
    for number, choices in enumerate(encodings(rules.space.sample(80, rng)), start=2):
        proposal = Proposal.of(rules.space.decode(choices), rules)
        store.study.add_trial(scored(number, rules, proposal, choices["blocks"] / 10).trial)
    store.read()
    ranked = importances(store)
    assert max(ranked, key=lambda name: ranked[name]) == "blocks"


def test_the_knee_lies_where_accuracy_stops_being_cheap() -> None:
    assert _knee([1, 2, 3, 10, 20], [0.30, 0.50, 0.60, 0.63, 0.65]) == 2
    assert _knee([5], [0.4]) == 0


@pytest.mark.parametrize(("comparisons", "freedom"), [(1, 10), (3, 10), (7, 14), (8, 16), (5, 200)])
def test_the_quantile_is_that_of_the_multivariate_t(comparisons: int, freedom: int) -> None:
    c = dunnett_quantile(comparisons, freedom)
    if comparisons == 1:
        assert c == pytest.approx(student_t.ppf(0.975, freedom), abs=2e-3)
    shape = 0.5 * (np.eye(comparisons) + 1)
    limit = np.full(comparisons, c)
    inside = multivariate_t(shape=shape, df=freedom, seed=0).cdf(limit, lower_limit=-limit)
    assert inside == pytest.approx(0.95, abs=2e-3)


def test_what_a_way_to_divide_the_clips_does_to_all_alike_does_not_widen_the_interval(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    for way, luck in enumerate((-0.2, 0.0, 0.2)):
        add_race(store, 0, {way: 0.40 + luck + 0.01 * (way == 0)})
        add_race(store, 1, {way: 0.50 + luck + 0.01 * (way == 1)})
    entry = next(entry for entry in finalists(store) if entry.candidate.number == 1)
    # differences 0.09, 0.11, 0.10: t = 0.1 / (0.01 / sqrt(3)) on 2 degrees of freedom, as a paired test has it
    assert entry.high - entry.difference == pytest.approx(student_t.ppf(0.975, 2) * 0.01 / 3**0.5, rel=2e-3)
    assert entry.verdict == "better"


def cheaper_and(tmp_path: Path, apart: float, noise: float = 0.002) -> Finalist:
    """An architecture of fewer MACs than Table 1, in five ways so far from its accuracy in the mean."""
    store = stored(tmp_path, [0.5, 0.9])
    add_race(store, 0, dict.fromkeys(range(5), 0.5))
    add_race(store, 1, {way: 0.50 + apart + noise * (way - 2) for way in range(5)})
    return next(entry for entry in finalists(store) if entry.candidate.number == 1)


@pytest.mark.parametrize(
    ("apart", "claim"),
    [
        (0.02, "better"),
        (0.0, "not worse, at 40% of its MACs and 89% of its bytes"),
        (-0.03, "worse"),
        (-0.01, "worse|not told apart"),
    ],
)
def test_the_claim_is_better_or_not_worse_at_fewer_macs_or_none(tmp_path: Path, apart: float, claim: str) -> None:
    entry = cheaper_and(tmp_path, apart)
    assert entry.macs_share < 1
    assert re.fullmatch(claim, entry.verdict)
    assert entry.holds == (apart >= 0)


def test_teachers_that_know_less_than_table_1_are_warned_of(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    assert weak_teachers(finalists(store), 0.1) is None, "nothing was trained in full"
    for number in (0, 1):
        add_race(store, number, {0: 0.5, 1: 0.52})
    assert weak_teachers(finalists(store), 0.52) is None
    warning = weak_teachers(finalists(store), 0.424)
    assert warning
    assert warning.startswith(
        "A teacher recognises 42.4% of the clips that it was not fine-tuned on, Table 1 in full 51.0%"
    )


def test_the_picture_says_which_claim_holds(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    for number, apart in ((0, 0.0), (1, 0.2)):
        add_race(store, number, {way: 0.5 + apart + way / 1_000 for way in range(5)})
    (_, svg) = draw_pareto(store)
    assert "#1: better" in svg.read_text()


def test_an_architecture_that_costs_more_is_not_called_as_good(tmp_path: Path) -> None:
    entry = replace(cheaper_and(tmp_path, 0.0), macs_share=1.01)
    assert entry.verdict == "not told apart"


def test_all_that_entered_the_race_widen_the_interval_of_those_that_are_left(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9, 0.4, 0.3, 0.2])
    for number in (0, 1):
        add_race(store, number, {0: 0.4, 1: 0.45 + number / 100})

    def reach() -> float:
        entry = next(entry for entry in finalists(store) if entry.candidate.number == 1)
        return entry.high - entry.difference

    alone = reach()
    store.note_entrants(len(store.candidates), [1, 2, 3, 4])
    # One degree of freedom, four comparisons with one control in place of one.
    assert reach() / alone == pytest.approx(dunnett_quantile(4, 1) / dunnett_quantile(1, 1))
    store.note_entrants(99, [1, 5, 6])  # a race of more candidates, after --trials was raised
    assert reach() / alone == pytest.approx(dunnett_quantile(6, 1) / dunnett_quantile(1, 1))


def test_shorter_rounds_of_the_race_prove_nothing(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    for number in (0, 1):
        add_retraining(store, number, Run(samples=5_000, way=0, seed=1), 0.9)
    store.read()
    assert finalists(store) == []
    add_race(store, 0, {0: 0.50, 1: 0.52})
    add_race(store, 1, {0: 0.60, 1: 0.64})
    assert {entry.mean for entry in finalists(store)} == {0.51, 0.62}


def test_what_is_missing_for_a_claim_follows_from_how_the_interval_narrows(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    add_race(store, 0, {0: 0.50, 1: 0.50, 2: 0.50})
    add_race(store, 1, {0: 0.49, 1: 0.51, 2: 0.53})
    (entry,) = (entry for entry in finalists(store) if entry.candidate.number)
    assert entry.difference == pytest.approx(0.01)
    # It is cheaper, so a reach of difference + margin = 0.02 is enough: (reach / 0.02)^2 times three trainings, and
    # three are done.
    trainings = ceil(3 * ((entry.difference - entry.low) / 0.02) ** 2) - 3
    told = what_it_would_take(store, finalists(store))
    assert told
    assert f"about {trainings} more trainings each of it and of Table 1" in told
    assert f"{2 * trainings * 10_000:,} samples" in told


def test_nothing_is_missing_where_a_claim_holds_and_no_number_helps_where_all_are_far_behind(tmp_path: Path) -> None:
    better, worse = (stored(tmp_path, [0.5, 0.9]) for _ in range(2))
    for store, apart in ((better, 0.2), (worse, -0.2)):
        add_race(store, 0, {0: 0.50, 1: 0.51, 2: 0.52})
        add_race(store, 1, {0: 0.50 + apart, 1: 0.512 + apart, 2: 0.52 + apart})
    assert what_it_would_take(better, finalists(better)) is None
    assert "more trainings would not change that" in (what_it_would_take(worse, finalists(worse)) or "")


def test_the_further_trainings_of_older_studies_are_seeds_in_one_way_to_divide_the_clips(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    for number, seed in product((0, 1), (7, 8, 9)):
        waiting = store.candidates[number].retraining(Run(1, 0, seed))
        kept = {"training", "candidate", "seed", "architecture", "layout", "macs"}
        store.race.study.add_trial(
            create_trial(
                values=(0.5 + number / 10 + seed / 1_000, 1e6), params=waiting.params,
                distributions=waiting.distributions,
                user_attrs={name: value for name, value in waiting.user_attrs.items() if name in kept},
            )
        )  # fmt: skip
    store.read()
    rival = next(entry for entry in finalists(store) if entry.candidate.number == 1)
    assert rival.accuracies == (0.607, 0.608, 0.609)
    assert rival.difference == pytest.approx(0.1)


def test_several_looks_at_the_claims_widen_the_intervals(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.55])
    for number, scores in {0: (0.50, 0.52, 0.51), 1: (0.55, 0.56, 0.58)}.items():
        add_race(store, number, dict(enumerate(scores)))
    (once,) = [entry for entry in finalists(store) if entry.candidate.number]
    store.race.note_looks(0, 2)
    (twice,) = [entry for entry in finalists(store) if entry.candidate.number]
    assert twice.low < once.low < once.high < twice.high
    store.race.note_looks(0, 1)  # a shorter plan takes no look back
    assert store.race.looks == 2
    store.race.note_looks(9, 3)  # another race, of more candidates, looks at them as well
    assert store.race.looks == 5
