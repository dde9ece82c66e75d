"""What a search expects of its candidates without noise."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import scored, stored

from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture
from nas.space.counting import sample_fitting
from nas.space.space import Space
from nas.strategy.pareto import front
from nas.strategy.propose import Proposal, Rules
from nas.strategy.surrogate import LEAST
from nas.study.candidate import Candidate
from nas.study.posterior import Posterior, expected, how_ranked
from nas.study.store import Store

RULES = Rules(Space(), Limits(), "float16")


def truth(architecture: Architecture) -> float:
    """An accuracy that grows with depth and with the width of the end."""
    return 0.3 + len(architecture.blocks) / 40 + np.log(architecture.blocks[-1].out) / 20


def trained(number: int, noise: float) -> list[Candidate]:
    """Random architectures that fit, each with one noisy training."""
    rng = np.random.default_rng(0)
    choices = sample_fitting(RULES.space, RULES.limits, RULES.dtype, proposals=20 * number, rng=rng).values()
    networks = [RULES.space.decode(each) for each in choices][:number]
    return [
        scored(index, RULES, Proposal.of(network, RULES), truth(network) + rng.normal(0, noise))
        for index, network in enumerate(networks)
    ]


def test_with_few_candidates_each_is_expected_to_score_as_it_did() -> None:
    for each in (few := trained(LEAST - 1, 0.1)):
        told = expected(few, Posterior.of(few))[each.number]
        assert (told.merit, told.accuracy) == (each.merit, each.accuracy)


def test_what_is_expected_lies_nearer_to_the_truth_than_the_scores_do() -> None:
    candidates = trained(100, 0.04)
    model = Posterior(candidates)
    told = expected(candidates, model)
    true = np.array([truth(each.architecture) for each in candidates])
    apart = np.array([told[each.number].accuracy for each in candidates]) - true
    noise = np.array([each.accuracy for each in candidates]) - true
    assert apart.std() < 0.7 * noise.std()
    for each in candidates[:5]:
        forecast = model.forecast(each.architecture)
        assert forecast.accuracy == pytest.approx(told[each.number].accuracy)
        assert 0 < forecast.deviation < 0.04


def test_a_lucky_candidate_is_on_the_front_of_the_scores_and_not_on_the_expected_one(tmp_path: Path) -> None:
    store, candidates = stored(tmp_path, [0.4]), trained(100, 0.04)
    told = expected(candidates, Posterior.of(candidates))
    ahead = {each.number for each in candidates if each.accuracy > told[each.number].accuracy + 0.04}
    store.study.add_trials([each.trial for each in candidates[1:]])
    store.read()
    finished = store.finished()
    by_scores = {finished[index].number for index in front([each.point for each in finished])}
    lucky = by_scores - {each.number for each in store.front()}
    assert lucky & ahead


def test_the_expected_front_is_one(tmp_path: Path) -> None:
    store = stored(tmp_path, np.random.default_rng(0).uniform(0.3, 0.8, 40).tolist())
    best, told = store.front(), store.expected()
    points = [(told[each.number].merit, each.macs) for each in best]
    assert points == sorted(points)
    for each in store.finished():
        beaten = [one for one in best if told[one.number].merit >= told[each.number].merit and one.macs <= each.macs]
        assert beaten
    assert set(store.results()["expected"]) == {told[each.number].accuracy for each in store.candidates}


@pytest.mark.parametrize(("number", "said"), [(5, r"what people read\.$"), (30, r"alike to a tau of 1\.00\.$")])
def test_it_is_said_what_candidates_are_ranked_by_and_how_that_goes_with_the_accuracy(number: int, said: str) -> None:
    told = how_ranked(trained(number, 0.02))
    assert "ranked by the mean loss of their training" in told
    assert re.search(said, told)


def test_an_older_study_s_candidates_are_ranked_by_accuracy() -> None:
    note = {"accuracy": 0.4, "seed": 7, "loss": 1.9, "seconds": 3.0}
    network = RULES.space.networks(1, np.random.default_rng(0))[0]
    old = Candidate.trained(0, RULES, Proposal.of(network, RULES), samples=2_048, training=note)
    assert how_ranked([old]) == "Candidates are ranked by their accuracy."
    assert expected([old], None)[0].merit == 0.4


def test_the_model_is_fitted_once_for_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stored(tmp_path, [0.4, 0.5])
    store.expected()
    monkeypatch.setattr("nas.study.store.Posterior.of", lambda _: pytest.fail("nothing is new"))
    assert isinstance(store, Store)
    store.front()
    store.results()
    assert store.posterior() is None


def test_the_model_says_where_it_has_seen_nothing_near() -> None:
    model = Posterior(trained(40, 0.02))
    known, odd = trained(3, 0.0)[0].architecture, replace(TABLE1, blocks=TABLE1.blocks[:1] * 20, stem=(64, 32))
    of_known, of_odd = model.forecast(known), model.forecast(odd)
    assert of_known.near
    assert not of_odd.near
    assert of_odd.deviation > 2 * of_known.deviation
