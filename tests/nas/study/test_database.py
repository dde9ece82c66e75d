"""The database of a search: new, away for a while, or damaged."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from queues import waiting
from servers import Postgres

from nas.study.database import open_storage
from nas.study.queue import Queue


def test_workers_that_start_at_once_on_a_new_database_all_find_it(database: Callable[[str], str]) -> None:
    url, gate = database("new"), threading.Barrier(6)

    def start(_: int) -> str:
        gate.wait()
        storage = open_storage(url)
        study = optuna.create_study(study_name="work", storage=storage, load_if_exists=True)
        study.set_user_attr("settings", {"seed": 0})
        return Queue(study, storage, unique=("key",)).study.study_name

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(start, range(6))) == ["work"] * 6


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
        work.end(trial, (0.5,))
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
