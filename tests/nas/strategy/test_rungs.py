"""Who climbs to the next rung: by the front there, and whatever order the results come in."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from nas.strategy.rungs import RungDecision, decide, rungs

REFERENCE = (0.1, 30.0)


@dataclass
class Made:
    number: int
    macs: int
    scores: dict[int, float] = field(default_factory=dict)
    stopped: bool = False


def test_each_rung_doubles_the_samples_up_to_the_last() -> None:
    assert rungs(8_192, 4, least=32) == (1_024, 2_048, 4_096, 8_192)
    assert rungs(2_048, 1, least=32) == (2_048,)
    with pytest.raises(ValueError, match="4 rungs up to 128 samples begin with 16, less than a batch of 32"):
        rungs(128, 4, least=32)


def test_the_better_half_of_those_so_far_climbs() -> None:
    """By hand: 1 beats 2 and 3; 3 is beaten by 1 and 2, so it is the last of four; 4 is on the front."""
    points = [(0.5, 20), (0.4, 10), (0.3, 12), (0.2, 15), (0.45, 11)]
    candidates = [Made(number, macs, {64: accuracy}) for number, (accuracy, macs) in enumerate(points)]
    decisions = [decide(each, candidates[: each.number], reference=REFERENCE) for each in candidates]
    assert decisions == [
        RungDecision.PROMOTE,
        RungDecision.PROMOTE,
        RungDecision.STOP,
        RungDecision.STOP,
        RungDecision.PROMOTE,
    ]


def test_the_baseline_always_climbs_and_whoever_has_no_score_goes_to_the_first_rung() -> None:
    assert decide(Made(0, 29, {64: 0.0}), [], reference=REFERENCE) is RungDecision.PROMOTE
    assert decide(Made(7, 29), [], reference=REFERENCE) is RungDecision.PROMOTE


def test_a_candidate_waits_for_those_before_it_that_are_missing_or_have_not_come_so_far_or_stopped() -> None:
    first, second = Made(0, 20, {64: 0.5}), Made(1, 10)
    third = Made(2, 12, {64: 0.6})
    assert decide(third, [first, second], reference=REFERENCE) is RungDecision.WAIT
    assert decide(third, [first], reference=REFERENCE) is RungDecision.WAIT
    second.scores[64] = 0.3
    assert decide(third, [first, second], reference=REFERENCE) is RungDecision.PROMOTE
    third.scores[128] = 0.7
    assert decide(third, [first, second], reference=REFERENCE) is RungDecision.WAIT
    second.stopped = True
    first.scores[128] = 0.6
    assert decide(third, [first, second], reference=REFERENCE) is RungDecision.PROMOTE


def climb(truth: np.ndarray, macs: np.ndarray, steps: Sequence[int], rng: np.random.Generator | None) -> list[Made]:
    """Train one candidate after the other, or with a generator any that is ready, until all have ended."""
    candidates = [Made(number, int(cost)) for number, cost in enumerate(macs)]
    while True:
        ready = []
        for each in candidates:
            if each.stopped or len(each.scores) == len(steps):
                continue
            outcome = decide(each, candidates[: each.number], reference=REFERENCE)
            if outcome is RungDecision.STOP:
                each.stopped = True
            elif outcome is RungDecision.PROMOTE:
                ready.append(each)
        if not ready:
            return candidates
        chosen = ready[rng.integers(len(ready))] if rng else ready[0]
        chosen.scores[steps[len(chosen.scores)]] = float(truth[chosen.number, len(chosen.scores)])


@pytest.mark.parametrize("seed", range(5))
def test_what_climbs_does_not_depend_on_the_order_in_which_trainings_end(seed: int) -> None:
    rng, steps = np.random.default_rng(seed), (64, 128, 256)
    truth, macs = rng.uniform(0.1, 0.9, (60, 3)), rng.uniform(5, 30, 60)
    one_by_one = climb(truth, macs, steps, None)
    for other in range(3):
        assert climb(truth, macs, steps, np.random.default_rng(other)) == one_by_one
    assert all(each.stopped or len(each.scores) == 3 for each in one_by_one)
    came = [sum(step in each.scores for each in one_by_one) for step in steps]
    assert came[0] == 60
    assert 25 <= came[1] <= 40, "about half climbs; early ones are judged among few, which favours them"
    assert 10 <= came[2] <= 25
