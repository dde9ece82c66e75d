"""Trials that lost their worker: killed, silent or failed, it is given up; one that shows life is not."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from queues import Opened, waiting
from sqlalchemy import text

from nas.study import database
from nas.study.queue import TrialLostError, this_machine


def test_a_trial_whose_worker_was_killed_on_this_machine_is_given_up_at_once(opened: Opened) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for key, worker in enumerate(
        [(this_machine(), dead.pid), (this_machine(), os.getpid()), (platform.node(), dead.pid)]
    ):
        opened.queue.offer(waiting(key))
        other = opened.reopened()
        other.worker = list(worker)
        assert other.claim(opened.queue.refresh().living[-1])
    living, given_up = opened.queue.refresh()
    assert [trial.user_attrs["key"] for trial in given_up] == [0]
    assert [trial.user_attrs["key"] for trial in living] == [1, 2]


def test_machines_of_one_name_do_not_judge_each_others_processes() -> None:
    """Containers and cloned machines may share a name; what tells them apart is where process numbers mean the same."""
    assert this_machine().startswith(f"{platform.node()} ")
    script = "from nas.study.queue import this_machine; print(this_machine())"
    inside = ["unshare", "--pid", "--fork", sys.executable, "-c", script]
    apart = subprocess.run(inside, capture_output=True, text=True)
    if apart.returncode:
        pytest.skip(f"no new process namespace can be had here: {apart.stderr.strip()}")
    assert apart.stdout.strip() != this_machine()


def test_a_zombie_counts_as_dead(opened: Opened) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    opened.queue.offer(waiting(0))
    opened.queue.worker = [this_machine(), child.pid]
    assert opened.queue.claim(opened.queue.refresh().living[0])
    deadline = time.monotonic() + 30
    while not opened.queue.refresh().given_up and time.monotonic() < deadline:
        time.sleep(0.05)
    assert opened.queue.refresh().given_up
    child.wait()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(database, "GRACE_SECONDS", 3)


def test_a_trial_of_a_machine_that_vanished_is_given_up_and_one_that_shows_life_is_not(
    short_grace: None, opened: Opened
) -> None:
    for key in range(2):
        opened.queue.offer(waiting(key))
    vanished, observer = opened.reopened(), opened.reopened()
    vanished.worker = ["elsewhere", 1]
    lost, kept = opened.queue.refresh().living
    assert vanished.claim(lost)
    assert opened.queue.claim(kept)
    with opened.queue.working(kept):
        assert len(observer.refresh().living) == 2
        time.sleep(5)
        living, given_up = observer.refresh()
        opened.queue.end(kept, (0.5, 1.0))
    assert [trial.number for trial in living] == [kept.number]
    assert [trial.number for trial in given_up] == [lost.number]
    with pytest.raises(TrialLostError):
        vanished.end(lost, (0.5, 1.0))
    with pytest.raises(TrialLostError):
        vanished.record(lost, 64, 0.5, {})
    assert not vanished.claim(lost)


def test_no_trial_runs_without_a_heartbeat_even_if_its_worker_dies_while_claiming(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna never gives up a trial that has none, so the first one is recorded before the trial runs."""
    opened.queue.offer(waiting(0))
    (trial,) = opened.queue.refresh().living
    order = list[str]()
    for name in ("record_heartbeat", "set_trial_state_values"):
        real = getattr(RDBStorage, name)

        def noted(*args: object, name: str = name, real: Callable[..., object] = real) -> object:
            order.append(name)
            return real(*args)

        monkeypatch.setattr(RDBStorage, name, noted)
    assert opened.queue.claim(trial)
    assert order == ["record_heartbeat", "set_trial_state_values"]


def test_work_that_fails_gives_its_trial_up(opened: Opened) -> None:
    opened.queue.offer(waiting(0))
    (trial,) = opened.queue.refresh().living
    assert opened.queue.claim(trial)
    with pytest.raises(KeyboardInterrupt), opened.queue.working(trial):
        raise KeyboardInterrupt
    assert opened.queue.refresh().given_up


def test_what_ended_since_it_was_looked_at_is_not_given_up(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker ended its trial and died, between a look at the trials and the judgement."""
    opened.queue.offer(waiting(0))
    (trial,) = opened.queue.refresh().living
    dead = opened.reopened()
    dead.worker = [this_machine(), -1]
    assert dead.claim(trial)

    def gone(pid: int) -> object:
        dead.end(trial, (0.5, 1.0))
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr("psutil.Process", gone)
    living, given_up = opened.queue.refresh()
    assert not given_up
    assert living[0].state == TrialState.COMPLETE


class Clock:
    """This process's own seconds, in place of `monotonic`; `wait` lets them pass at once."""

    now = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(database.server, "last_away", float("-inf"))
    for module in ("queue", "database"):
        monkeypatch.setattr(f"nas.study.{module}.monotonic", lambda: clock.now)
    return clock


def claimed_elsewhere(opened: Opened) -> Callable[[float], None]:
    """A trial that a worker of another machine has claimed; returns what sets its heartbeat, in seconds from now."""
    opened.queue.offer(waiting(0))
    other = opened.reopened()
    other.worker = ["elsewhere boot", 1]
    (trial,) = opened.queue.refresh().living
    assert other.claim(trial)

    def beat(seconds: float) -> None:
        now = datetime.now(UTC).replace(tzinfo=None, microsecond=0) + timedelta(seconds=seconds)
        with opened.storage.engine.begin() as connection:
            connection.execute(text("UPDATE trial_heartbeats SET heartbeat = :now"), {"now": str(now)})

    return beat


@pytest.mark.parametrize("ahead", [-365 * 86_400, -3_600, 3_600, 365 * 86_400])
def test_silence_is_judged_by_the_observer_s_own_clock_whatever_the_other_s_says(
    ahead: float, opened: Opened, clock: Clock
) -> None:
    beat = claimed_elsewhere(opened)
    for step in range(10):  # the other clock goes on, and is set back once
        beat(ahead + 50 * (step % 7))
        assert opened.queue.refresh().living, "it shows life"
        clock.wait(50)
    assert opened.queue.refresh().living
    clock.wait(11)
    assert opened.queue.refresh().given_up, "61 s after its last sign of life"


def test_a_trial_without_any_heartbeat_is_given_up_too(opened: Opened, clock: Clock) -> None:
    claimed_elsewhere(opened)
    with opened.storage.engine.begin() as connection:
        connection.execute(text("DELETE FROM trial_heartbeats"))
    assert opened.queue.refresh().living
    clock.wait(61)
    assert opened.queue.refresh().given_up


def test_a_trial_that_waited_long_is_watched_from_when_it_was_claimed(opened: Opened, clock: Clock) -> None:
    opened.queue.offer(waiting(0))
    (trial,) = opened.queue.refresh().living
    clock.wait(1_000)
    other = opened.reopened()
    other.worker = ["elsewhere boot", 1]
    assert other.claim(trial)
    assert opened.queue.refresh().living
    clock.wait(61)
    assert opened.queue.refresh().given_up


def test_nobody_is_given_up_for_silence_while_the_server_was_away(opened: Opened, clock: Clock) -> None:
    claimed_elsewhere(opened)
    assert opened.queue.refresh().living
    clock.wait(70)
    database.server.was_away()
    assert opened.queue.refresh().living, "it could not show life"
    clock.wait(59)
    assert opened.queue.refresh().living
    clock.wait(2)
    assert opened.queue.refresh().given_up, "it could have since"
