"""Trials that many workers share: one claims each, equal ones live once, and what a trial reached is kept."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

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


def test_what_a_trial_reached_is_kept_however_it_ends_and_an_end_that_is_told_twice_is_one(opened: Opened) -> None:
    opened.queue.offer(waiting(0))
    opened.queue.offer(waiting(1))
    ends: list[Callable[[FrozenTrial], None]] = [partial(opened.queue.end, values=(0.3, 1.0)), opened.queue.give_up]
    for trial, end in zip(opened.queue.refresh().living, ends, strict=True):
        assert opened.queue.claim(trial)
        assert not opened.reopened().claim(trial)
        opened.queue.record(trial, 64, 0.3, {"seed": 5})
        for _ in range(2):  # the first answer did not come
            end(trial)
        opened.queue.give_up(trial)
    (ended,), (lost,) = opened.reopened().refresh()
    assert (ended.state, lost.state) == (TrialState.COMPLETE, TrialState.FAIL)
    assert ended.values == [0.3, 1.0]
    for trial in (ended, lost):
        assert trial.user_attrs["at 64"] == {"seed": 5}
        assert trial.intermediate_values == {64: 0.3}
