"""Workers on real searches that are killed at random moments, with the database restarted under them.

The short form runs with the tests, on a server: `tests/nas/test_search.py` kills workers on a file. The full one, here
with 50 kills and 3 workers on either database:

    NAS_KILLS=50 NAS_WORKERS=3 NAS_TRIALS=400 pytest -n 0 -s tests/nas/study/test_soak.py -k killed
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial
from servers import Postgres
from tiny import search_options

from nas.search import main
from nas.study.store import Store

KILLS, WORKERS = int(os.environ.get("NAS_KILLS", "2")), int(os.environ.get("NAS_WORKERS", "2"))
TRIALS = int(os.environ.get("NAS_TRIALS", "5"))
LONG = "NAS_KILLS" in os.environ
DATABASES, MORE = (("postgresql", "sqlite"), {"sampler": "random", "samples": 64}) if LONG else (("postgresql",), {})
SCORES = ["candidate", "accuracy", "samples", "macs", "parameters", "bytes", "layout", "seed"]


@pytest.fixture(scope="module")
def undisturbed(data: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `studies` with the study `finished` of an undisturbed search of one worker."""
    if not LONG:
        studies: Path = request.getfixturevalue("finished_search")
        return studies
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("finished"))
        assert main(search_options(data, "finished", TRIALS, **MORE)) == 0
    return folder / "studies"


def tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a search trained, and its race."""
    return pd.read_csv(folder / "results.csv")[SCORES], pd.read_csv(folder / "race.csv").drop(columns="seconds")


@dataclass
class Crew:
    """Worker processes, each in a folder of its own as on machines of their own; a killed one is replaced."""

    command: list[str]
    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    started: int = 0

    def fill(self) -> None:
        """Replace those that were killed, and those that found no database when they started."""
        self.processes = [process for process in self.processes if process.poll() is None]
        while len(self.processes) < WORKERS:
            place = self.folder / f"machine-{self.started}"
            place.mkdir()
            self.started += 1
            log = (place / "log").open("w", encoding="utf-8")
            self.processes.append(
                subprocess.Popen(self.command, cwd=place, stdout=log, stderr=subprocess.STDOUT, text=True)
            )

    def kill(self, rng: random.Random) -> bool:
        """One at random; false if it had ended."""
        process = rng.choice(self.processes)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL

    def finish(self) -> None:
        for process in self.processes:
            assert process.wait(timeout=600) == 0, self.logs()

    def logs(self) -> str:
        return "\n\n".join(path.read_text() for path in sorted(self.folder.glob("machine-*/log")))


def stored(url: str, study: str) -> list[FrozenTrial]:
    try:
        return optuna.load_study(study_name=study, storage=url).get_trials(deepcopy=False)
    except (KeyError, StorageInternalError):
        return []  # the first worker has not come so far


def finished(url: str) -> bool:
    trials = stored(url, "soak: fresh seeds")
    return bool(trials) and all(trial.state.is_finished() for trial in trials)


def await_more(url: str, trainings: int) -> None:
    """Until so many more trainings are stored, or the search has finished."""
    before, deadline = scores(url), time.monotonic() + 120
    while scores(url) < before + trainings and not finished(url) and time.monotonic() < deadline:
        time.sleep(0.5)


def scores(url: str) -> int:
    """Of candidates, and of fresh trainings."""
    return sum(
        max(len(trial.intermediate_values), trial.state.is_finished())
        for study in ("soak", "soak: fresh seeds")
        for trial in stored(url, study)
    )


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.timeout(900 + 60 * KILLS)
def test_workers_that_are_killed_again_and_again_train_what_an_undisturbed_search_does(
    database: str,
    data: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    rng, server = random.Random(0), None
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    if database == "postgresql":
        server = request.getfixturevalue("postgres")
        assert isinstance(server, Postgres)
        url = server.create_database(f"soak_{time.monotonic_ns()}")
    options = [*search_options(data, "soak", TRIALS, **MORE), "--storage", url]
    crew, kills, restarts, phases = Crew([sys.executable, "-m", "nas.search", *options], tmp_path), 0, 0, Counter[str]()
    while kills < KILLS and not finished(url):  # a kill after the end would count for nothing
        crew.fill()
        await_more(url, rng.randint(1, 3))
        time.sleep(rng.uniform(0, 0.5))
        if server and kills == KILLS // 2 and not restarts:
            server.stop()
            time.sleep(1)
            server.start()
            restarts += 1
        kills += crew.kill(rng)
    crew.fill()
    crew.finish()
    logs = crew.logs()
    assert "Traceback" not in logs, logs
    assert main(options) == 0, "the study is complete, and this folder gets its tables"
    for mine, other in zip(tables(tmp_path / "studies/soak"), tables(undisturbed / "finished"), strict=True):
        pd.testing.assert_frame_equal(mine, other)
    store = Store.open("soak", url)
    for study in (store.study, store.race.study):
        states = Counter(trial.state.name for trial in study.get_trials())
        assert not {"RUNNING", "WAITING"} & set(states)
        phases[f"{study.study_name}: {dict(states)}"] += 1
    assert kills >= min(KILLS, 2), "too quick to be disturbed: give it more trials"
    trained = [each.number for each in store.candidates]
    assert trained == list(range(TRIALS))
    assert len({each.architecture for each in store.candidates}) == TRIALS
    noticed = len(re.findall("The database cannot be reached", logs))
    print(f"\n{database}: {kills} kills of {crew.started} processes, {restarts} restarts; {list(phases)}; {noticed=}")
