"""Trials that many workers share: one claims each, equal ones live once, and what a trial reached is kept."""

import threading
from concurrent.futures import ThreadPoolExecutor

from optuna.trial import FrozenTrial, TrialState
from queues import Opened, waiting

from nas.study.queue import Queue


def test_of_many_workers_one_claims_a_trial(opened: Opened) -> None:
    workers = [opened.reopened() for _ in range(6)]
    for key in range(12):
        opened.queue.offer(waiting(key))
    trials = opened.queue.refresh().living
    with ThreadPoolExecutor(len(workers)) as pool:
        for trial in trials:
            gate = threading.Barrier(len(workers))

            def claim(worker: Queue, trial: FrozenTrial = trial, gate: threading.Barrier = gate) -> bool:
                gate.wait()
                return worker.claim(trial) is not None

            assert sum(pool.map(claim, workers)) == 1
    assert {trial.state for trial in opened.queue.refresh().living} == {TrialState.RUNNING}


def test_of_trials_with_the_same_key_or_mark_the_first_lives(opened: Opened) -> None:
    for trial in (waiting(0), waiting(1), waiting(0, "other"), waiting(2, "mark 1"), waiting(3)):
        opened.queue.offer(trial)
    living, given_up = opened.queue.refresh()
    assert [trial.number for trial in living] == [0, 1, 4]
    assert [trial.number for trial in given_up] == [2, 3]
    assert [trial.number for trial in opened.reopened().refresh().given_up] == [2, 3]


def test_what_is_offered_at_once_by_many_lives_once(opened: Opened) -> None:
    workers = [opened.reopened() for _ in range(6)]
    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(lambda worker: [worker.offer(waiting(key)) for key in range(5)], workers))
    living, given_up = opened.queue.refresh()
    assert sorted(trial.user_attrs["key"] for trial in living) == list(range(5))
    assert len(given_up) == 25


def test_a_trial_may_wait_between_its_rungs_and_keeps_what_it_reached(opened: Opened) -> None:
    opened.queue.offer(waiting(0))
    for step, value in ((64, 0.3), (128, 0.4)):
        (trial,) = opened.reopened().refresh().living
        assert opened.queue.claim(trial)
        assert not opened.reopened().claim(trial)
        opened.queue.record(trial, step, value, {"seed": step})
        opened.queue.put_back(trial)
    (trial,) = opened.reopened().refresh().living
    assert trial.intermediate_values == {64: 0.3, 128: 0.4}
    late = opened.reopened()
    (stale,) = late.refresh().living
    assert opened.queue.claim(trial)
    opened.queue.record(trial, 256, 0.5, {"seed": 256})
    opened.queue.put_back(trial)
    assert opened.queue.refresh().living[0].user_attrs["worker"] is None
    claimed = late.claim(stale)
    assert claimed is not None
    assert 256 not in stale.intermediate_values
    assert 256 in claimed.intermediate_values, "whoever claims late must see what was done meanwhile"
    assert trial.user_attrs["at 128"] == {"seed": 128}


def test_an_answer_that_was_lost_does_not_take_a_trial_from_whoever_claimed_it_since(opened: Opened) -> None:
    opened.queue.offer(waiting(0))
    (trial,) = opened.queue.refresh().living
    assert opened.queue.claim(trial)
    opened.queue.put_back(trial)
    other = opened.reopened()
    other.worker = ["elsewhere", 1]
    assert other.claim(trial)
    opened.queue.put_back(trial)  # once more: the first answer did not come
    (trial,) = opened.queue.refresh().living
    assert trial.state == TrialState.RUNNING
    assert trial.user_attrs["worker"] == ["elsewhere", 1]
