"""Whether short trainings rank as full ones: what is trained, and what is concluded."""

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from made_up import made_up_training, stored
from optuna.trial import create_trial

from nas.results.fidelity import MACS, RANKING, STATISTICS, agreement, conclusion, spread, wanted
from nas.scoring.agreement import without_noise
from nas.strategy.propose import DIRECTIONS
from nas.study.candidate import training_key
from nas.study.further import FurtherTrainings, Wanted
from nas.study.store import Store

SHORT, FULL = 100, 1_000


def search(folder: Path, candidates: int = 30) -> Store:
    return stored(folder, np.random.default_rng(0).uniform(0.3, 0.8, candidates).tolist())


def trained(trainings: Wanted, truth: dict[int, float], noise: float) -> FurtherTrainings:
    """Full trainings come to the truth, short ones to half of it, with noise."""
    done, rng = FurtherTrainings(optuna.create_study(directions=DIRECTIONS), SHORT), np.random.default_rng(0)
    for each, run in trainings:
        exact = truth[each.number] * (1 if run.samples == FULL else 0.5)
        score = made_up_training(exact + rng.normal(0, noise if run.samples == SHORT else 0.001))
        waiting = each.retraining(run)
        done.study.add_trial(
            create_trial(
                values=(score.accuracy, each.macs), params=waiting.params, distributions=waiting.distributions,
                user_attrs=waiting.user_attrs | {training_key(run.samples): vars(score) | {"seed": run.seed}},
            )
        )  # fmt: skip
    done.take(done.trials(), set(truth))
    return done


def test_candidates_are_spread_from_the_worst_to_the_best_and_table_1_is_among_them(tmp_path: Path) -> None:
    store = search(tmp_path)
    chosen = spread(store.candidates, 7)
    merits = sorted(each.merit for each in store.candidates if each.number)
    assert chosen[0].number == 0
    assert len(chosen) == 7
    assert [each.merit for each in chosen[1:]] == [merits[place] for place in (0, 6, 11, 17, 22, 28)]
    assert len(spread(store.candidates, 99)) == 30


def test_each_candidate_is_trained_twice_shortly_and_in_full_with_seeds_that_all_share(tmp_path: Path) -> None:
    store = search(tmp_path, 5)
    trainings = wanted(store.candidates, short=SHORT, full=FULL, seeds=3, seed=0)
    of = {number: sorted(run for each, run in trainings if each.number == number) for number in range(5)}
    assert all(runs == of[0] for runs in of.values())
    assert [run.samples for run in of[0]] == [SHORT] * 2 + [FULL] * 3
    assert len({run.seed for run in of[0]}) == 5


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (0.002, "can be trusted here"),
        (0.08, "samples a trial would bring the tau to 0.65"),
        (9.0, "Take more --samples, and check again"),
    ],
)
def test_the_conclusion_says_whether_to_trust_and_what_would_help(tmp_path: Path, noise: float, said: str) -> None:
    store = search(tmp_path)
    truth = {each.number: each.accuracy for each in store.candidates}
    done = trained(wanted(store.candidates, short=SHORT, full=FULL, seeds=2, seed=0), truth, noise)
    table = agreement(done, short=SHORT, full=FULL)
    assert table["statistic"].tolist() == [*STATISTICS, MACS]
    assert said in conclusion(table, short=SHORT)
    of = {row["statistic"]: row for row in table.to_dict("records")}
    assert of[RANKING]["low"] <= of[RANKING]["tau"] <= of[RANKING]["high"]
    assert of[RANKING]["tau"] == pytest.approx(of["validation accuracy"]["tau"]), "one falls as the other rises"


@pytest.mark.parametrize(("truth", "samples"), [(np.nan, 500), (0.9, 900)])
def test_more_trainings_than_one_are_reckoned_by_spearman_and_brown(truth: float, samples: int) -> None:
    """A tau of 0.65 is a correlation of sin(0.65 pi / 2) = 0.853, and the noiseless one 0.951. So the reliabilities of
    the mean of k trainings and of the truth must make (0.853 / 0.951)^2 = 0.804. With 0.5 each, k trainings have
    k / (k + 1): 0.800 of four, 0.833 of five; beside a truth of 0.9 they need 0.893: 0.889 of eight, 0.900 of nine."""
    row = {"candidates": 20, "tau": 0.47, "low": 0.2, "high": 0.7, "reliability": 0.5, "truth": truth, "noiseless": 0.8}
    table = pd.DataFrame([{"statistic": RANKING} | row, {"statistic": MACS} | row])
    assert f"About {samples} samples a trial" in conclusion(table, short=100)


def test_full_trainings_that_scatter_as_far_as_candidates_differ_are_no_truth() -> None:
    row = {"candidates": 20, "tau": 0.1, "low": -0.2, "high": 0.4, "reliability": 0.9, "truth": -0.1, "noiseless": 0.1}
    table = pd.DataFrame([{"statistic": RANKING} | row, {"statistic": MACS} | row])
    assert "a reliability of 0.00): take more --seeds" in conclusion(table, short=100)


def test_a_good_tau_of_few_candidates_asks_for_more_of_them() -> None:
    row = {"candidates": 6, "tau": 0.7, "low": 0.1, "high": 1.0, "reliability": 0.9, "truth": 0.9, "noiseless": 0.8}
    table = pd.DataFrame([{"statistic": RANKING} | row, {"statistic": MACS} | row])
    assert "take more --layouts" in conclusion(table, short=100)


def test_the_truth_is_the_mean_of_the_full_trainings(tmp_path: Path) -> None:
    """Its noise is a thousandth here, a hundredth of what candidates differ by, so its mean is all but exact."""
    store = search(tmp_path)
    truth = {each.number: each.accuracy for each in store.candidates}
    done = trained(wanted(store.candidates, short=SHORT, full=FULL, seeds=2, seed=0), truth, 0.08)
    row = next(row for row in agreement(done, short=SHORT, full=FULL).to_dict("records") if row["statistic"] == RANKING)
    assert 0.9999 < row["truth"] < 1
    assert row["noiseless"] == pytest.approx(without_noise(row["tau"], row["reliability"], row["truth"]))


def test_only_candidates_with_all_their_trainings_count_and_few_say_nothing(tmp_path: Path) -> None:
    store = search(tmp_path, 6)
    truth = {each.number: each.accuracy for each in store.candidates}
    trainings = wanted(store.candidates, short=SHORT, full=FULL, seeds=1, seed=0)
    some = trained(trainings[:-1], truth, 0.01)
    assert set(agreement(some, short=SHORT, full=FULL)["candidates"]) == {5}
    assert agreement(trained(trainings[:15], truth, 0.01), short=SHORT, full=FULL).empty
    assert agreement(trained([], truth, 0.01), short=SHORT, full=FULL).empty


def test_full_trainings_that_all_came_to_the_same_say_nothing() -> None:
    table = pd.DataFrame([{"statistic": RANKING, "tau": np.nan}, {"statistic": MACS, "tau": np.nan}])
    assert "nothing can be said" in conclusion(table, short=SHORT)
    assert "nothing can be said" in conclusion(pd.DataFrame(), short=SHORT)
