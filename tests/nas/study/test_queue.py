"""Trials that many workers share: one claims each, one that loses its worker is given up, outages are survived."""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from servers import Postgres
from sqlalchemy import text

from nas.study import database
from nas.study.database import open_storage
from nas.study.queue import Queue, TrialLostError, this_machine

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass
class Opened:
    """A queue, and how to open it once more as another process would."""

    url: str
    storage: RDBStorage
    queue: Queue

    def reopened(self) -> Queue:
        storage = open_storage(self.url)
        return Queue(optuna.load_study(study_name="work", storage=storage), storage, unique=("key", "mark"))


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'work.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database(f"test_{time.monotonic_ns()}")
    storage = open_storage(url)
    study = optuna.create_study(study_name="work", storage=storage, directions=["maximize", "minimize"])
    yield Opened(url, storage, Queue(study, storage, unique=("key", "mark")))
    storage.engine.dispose()


def waiting(key: int, mark: str = "") -> FrozenTrial:
    return create_trial(state=TrialState.WAITING, user_attrs={"key": key, "mark": mark or f"mark {key}"})


def test_workers_that_start_at_once_on_a_new_database_all_find_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: Postgres = request.getfixturevalue("postgres")
    for url in (f"sqlite:///{tmp_path / 'new.db'}", server.create_database(f"test_{time.monotonic_ns()}")):
        gate = threading.Barrier(6)

        def start(_: int, url: str = url, gate: threading.Barrier = gate) -> str:
            gate.wait()
            storage = open_storage(url)
            study = optuna.create_study(study_name="work", storage=storage, load_if_exists=True)
            study.set_user_attr("settings", {"seed": 0})
            return Queue(study, storage, unique=("key",)).study.study_name

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(start, range(6))) == ["work"] * 6


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
        opened.queue.end(kept, TrialState.COMPLETE, (0.5, 1.0))
    assert [trial.number for trial in living] == [kept.number]
    assert [trial.number for trial in given_up] == [lost.number]
    with pytest.raises(TrialLostError):
        vanished.end(lost, TrialState.COMPLETE, (0.5, 1.0))
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


def test_what_changed_since_it_was_looked_at_is_not_given_up(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker put its trial back and died, and another claimed it, between a look at the trials and the judgement."""
    opened.queue.offer(waiting(0))
    (trial,) = opened.queue.refresh().living
    dead, other = opened.reopened(), opened.reopened()
    dead.worker = [this_machine(), -1]
    assert dead.claim(trial)
    monkeypatch.setattr("psutil.Process", lambda pid: _gone(pid))

    def _gone(pid: int) -> object:
        if opened.queue.study.trials[0].user_attrs["worker"] == dead.worker:
            dead.put_back(trial)
            other.worker = ["elsewhere", 1]
            assert other.claim(trial)
        raise psutil.NoSuchProcess(pid)

    living, given_up = opened.queue.refresh()
    assert not given_up
    assert living[0].user_attrs["worker"] == ["elsewhere", 1]


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


def test_a_trial_that_was_put_back_and_claimed_again_is_watched_anew(opened: Opened, clock: Clock) -> None:
    claimed_elsewhere(opened)
    (trial,) = opened.queue.refresh().living
    other = opened.reopened()
    other.worker = trial.user_attrs["worker"]
    other.put_back(trial)
    opened.queue.refresh()
    clock.wait(1_000)
    assert other.claim(trial)
    assert opened.queue.refresh().living


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


def test_a_server_that_restarts_is_waited_for_and_nothing_is_lost(postgres: Postgres) -> None:
    url = postgres.create_database(f"test_{time.monotonic_ns()}")
    storage = open_storage(url)
    study = optuna.create_study(study_name="work", storage=storage)
    work = Queue(study, storage, unique=("key",))
    work.offer(waiting(0))
    (trial,) = work.refresh().living
    assert work.claim(trial)
    with work.working(trial):
        postgres.stop()
        later = threading.Timer(2.0, postgres.start)
        later.start()
        work.record(trial, 64, 0.5, {})
        later.join()
        work.end(trial, TrialState.COMPLETE, (0.5,))
    (trial,) = work.refresh().living
    assert trial.state == TrialState.COMPLETE
    assert trial.intermediate_values == {64: 0.5}


def test_a_damaged_file_is_not_waited_for(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'work.db'}")
    work = Queue(optuna.create_study(study_name="work", storage=storage), storage, unique=("key",))
    storage.engine.dispose()
    (tmp_path / "work.db").write_bytes(bytes(20_000))
    started = time.monotonic()
    with pytest.raises(StorageInternalError):
        work.refresh()
    assert time.monotonic() - started < 5
