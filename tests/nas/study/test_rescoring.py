"""The result of a search, and what counts as better."""

from pathlib import Path

import numpy as np
import pytest
from made_up import add_rescores, scored, stored
from scipy.stats import multivariate_t
from scipy.stats import t as student_t

from budget.limits import Limits
from nas.export import _knee
from nas.space.space import Space, encodings
from nas.strategy.propose import Proposal, Rules
from nas.study.rescoring import dunnett_quantile, hypervolume_history, rescored
from nas.views.figures import draw_importance, draw_pareto, importances


def test_the_front_is_what_optuna_calls_best(tmp_path: Path) -> None:
    store = stored(tmp_path, np.random.default_rng(0).uniform(0.3, 0.8, 40).tolist())
    assert {candidate.number for candidate in store.front()} == {trial.number for trial in store.study.best_trials}
    macs = [candidate.macs for candidate in store.front()]
    assert macs == sorted(macs)


def test_a_layout_is_better_only_where_the_interval_of_rescores_says_so(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9, 0.9, 0.2])
    given = {0: (0.50, 0.52, 0.48), 1: (0.70, 0.72, 0.68), 2: (0.51, 0.55, 0.47), 3: (0.30, 0.32, 0.28)}
    for number, scores in given.items():
        add_rescores(store, number, dict(enumerate(scores)))
    verdicts = {entry.candidate.number: entry.verdict for entry in rescored(store)}
    assert verdicts == {0: "the baseline", 1: "better", 2: "not told apart", 3: "worse"}
    entry = next(entry for entry in rescored(store) if entry.candidate.number == 1)
    assert entry.difference == pytest.approx(0.20)
    assert entry.low < 0.20 < entry.high


def test_means_and_their_difference_rest_on_the_seeds_that_all_layouts_have(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    add_rescores(store, 0, {0: 0.50, 1: 0.52, 2: 0.90})
    add_rescores(store, 1, {0: 0.60, 1: 0.64})
    baseline, rival = sorted(rescored(store), key=lambda entry: entry.candidate.number)
    assert baseline.accuracies == (0.50, 0.52)
    assert rival.difference == pytest.approx(rival.mean - baseline.mean)


def test_without_rescores_of_table_1_nothing_is_called_better(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    add_rescores(store, 1, {0: 0.9, 1: 0.9})
    assert rescored(store) == []


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


def test_what_a_seed_does_to_all_layouts_alike_does_not_widen_the_interval(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.5, 0.9])
    for seed, luck in enumerate((-0.2, 0.0, 0.2)):
        add_rescores(store, 0, {seed: 0.40 + luck + 0.01 * (seed == 0)})
        add_rescores(store, 1, {seed: 0.50 + luck + 0.01 * (seed == 1)})
    entry = next(entry for entry in rescored(store) if entry.candidate.number == 1)
    # differences 0.09, 0.11, 0.10: t = 0.1 / (0.01 / sqrt(3)) on 2 degrees of freedom, as a paired test has it
    assert entry.high - entry.difference == pytest.approx(student_t.ppf(0.975, 2) * 0.01 / 3**0.5, rel=2e-3)
    assert entry.verdict == "better"
