"""A queue of Optuna trials that many processes on many machines share: each is finished once, whatever dies on the way.

The storage is the only thing that they share, and its transactions decide. A trial is offered WAITING, with everything
that is needed to train it; whoever turns it RUNNING (the storage lets one only) works on it and records heartbeats; it
ends COMPLETE. A trial whose worker is gone is given up (FAIL) and can be offered anew.
Optuna records and judges heartbeats inside `Study.optimize` alone, and compares the clocks of two machines, which may
differ or be set. Here `Queue.working` records them, and `Queue.refresh` compares what they say with what they said: a
heartbeat is a value that must change while this process watches it, whatever time it names.
"""

import os
import platform
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import optuna
import psutil
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from nas.study import database
from nas.study.candidate import training_key
from nas.study.database import patiently, server, server_is_away


class TrialLostError(RuntimeError):
    """Another worker gave the trial up, because this process recorded no heartbeat for too long."""


class Trials(NamedTuple):
    """What a queue holds, both lists in the order of the trials' numbers; Optuna's own trials: do not change them."""

    living: list[FrozenTrial]
    """Trials that wait, are being trained, or have ended."""
    given_up: list[FrozenTrial]
    """Trials whose worker was lost, or that repeated an earlier one."""


class Beat(NamedTuple):
    """A heartbeat as this process saw it in the storage."""

    value: Any
    """The time that the storage holds, None before the first."""
    since: float
    """When this process first saw that, in seconds of `time.monotonic`."""


_HEARTBEATS = text(
    "SELECT number, heartbeat FROM trials LEFT JOIN trial_heartbeats USING (trial_id) "
    "WHERE study_id = :study AND state = 'RUNNING'"
)


class Queue:
    """A study as a queue of trials.

    Of trials that agree in one of the user attributes named by `unique`, which all must have, only the first is kept.
    `storage` is the one that `study` is in. All methods try again while the database server is away, up to
    `nas.study.database.OUTAGE_SECONDS`; other errors of Optuna and SQLAlchemy pass. `worker` is what this process signs
    a claimed trial with: [machine, process id].
    """

    def __init__(self, study: optuna.Study, storage: RDBStorage, unique: Sequence[str]) -> None:
        self.study, self._storage, self._unique = study, storage, unique
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._ids, self._beats = dict[int, int](), dict[int, Beat]()
        self.worker = [this_machine(), os.getpid()]

    def refresh(self) -> Trials:
        """Give up trials that repeat an earlier one or have lost their worker; returns all trials after that."""
        while True:
            trials, settled = self._sifted()
            if settled:
                return trials

    @patiently
    def _sifted(self) -> tuple[Trials, bool]:
        """The trials that there are, and whether nothing had to be given up: if something was, more may have happened
        meanwhile.
        """
        settled = True
        trials, taken = Trials([], []), {name: set[Any]() for name in self._unique}
        every = self.study.get_trials(deepcopy=False)
        self._watch()  # after the look at the trials: one that runs had its heartbeat before
        for trial in every:
            if trial.state == TrialState.FAIL:
                trials.given_up.append(trial)
                continue
            marks = {name: trial.user_attrs[name] for name in self._unique}
            if self._repeats(trial, marks, taken) or self._lost(trial):
                self.give_up(trial)
                settled = False
            else:
                trials.living.append(trial)
                for name, mark in marks.items():
                    taken[name].add(mark)
        return trials, settled

    def _repeats(self, trial: FrozenTrial, marks: dict[str, Any], taken: dict[str, set[Any]]) -> bool:
        """Numbers are given one after the other, so whoever sees a trial sees all before it, and all judge alike."""
        return trial.state == TrialState.WAITING and any(mark in taken[name] for name, mark in marks.items())

    def _lost(self, trial: FrozenTrial) -> bool:
        if trial.state != TrialState.RUNNING:
            return False
        return self._worker_is_gone(trial) or self._silence(trial) > database.GRACE_SECONDS

    def _worker_is_gone(self, trial: FrozenTrial) -> bool:
        """Whether it was a process of this machine that is no more: known without waiting for heartbeats."""
        machine, pid = trial.user_attrs.get("worker") or (None, None)
        if machine != self.worker[0]:
            return False
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def _watch(self) -> None:
        """Note of each trial that runs since when its heartbeat says what it says, by this process's own clock."""
        with self._storage.engine.begin() as connection:
            beats = connection.execute(_HEARTBEATS, {"study": self._study_id}).all()
        now, known = monotonic(), self._beats
        self._beats = {
            number: known[number] if number in known and known[number].value == value else Beat(value, now)
            for number, value in beats
        }

    def _silence(self, trial: FrozenTrial) -> float:
        """Seconds without a sign of life of a trial that runs, as far as this process has watched it."""
        beat = self._beats.get(trial.number)
        return monotonic() - max(beat.since, server.last_away) if beat else 0.0

    @patiently
    def offer(self, trial: FrozenTrial) -> None:
        """Add a trial that waits to be claimed."""
        self.study.add_trial(trial)

    @patiently
    def claim(self, trial: FrozenTrial) -> FrozenTrial | None:
        """Turn a WAITING trial RUNNING, for this worker; returns it as it is then, or None if another was quicker."""
        trial_id = self._id(trial)
        self._storage.record_heartbeat(trial_id)  # first: Optuna never gives up a trial that has none
        with suppress(UpdateFinishedTrialError):
            if self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                self._storage.set_trial_user_attr(trial_id, "worker", self.worker)
                return self._storage.get_trial(trial_id)
        return None

    @contextmanager
    def working(self, trial: FrozenTrial) -> Iterator[None]:
        """Record heartbeats of a claimed trial while the block runs, and give it up if the block fails."""
        trial_id, ended = self._id(trial), threading.Event()

        def beat() -> None:
            while not ended.wait(database.HEARTBEAT_SECONDS):
                try:
                    self._storage.record_heartbeat(trial_id)
                except StorageInternalError as error:
                    if server_is_away(error):
                        server.was_away()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self.give_up(trial)
            raise
        finally:
            ended.set()
            thread.join()

    @patiently
    def record(self, trial: FrozenTrial, step: int, value: float, note: dict[str, Any]) -> None:
        """Store what a training came to: `note` as user attribute `training_key(step)`, `value` for Optuna's dashboard.

        `step` is the number of training samples, `value` the validation macro accuracy in [0, 1], and `note` the seed
        and the fields of `nas.scoring.score.Score`, by name. Readers go by the note: a server may show them one of the
        two without the other. Raises `TrialLostError` for a trial that was given up.
        """
        trial_id = self._id(trial)
        with self._unless_lost(trial):
            self._storage.set_trial_user_attr(trial_id, training_key(step), note)
            self._storage.set_trial_intermediate_value(trial_id, step, value)

    @patiently
    def end(self, trial: FrozenTrial, values: Sequence[float]) -> None:
        """End a trial as COMPLETE with its `values`, (accuracy, MACs).

        Raises `TrialLostError` for a trial that was given up.
        """
        with self._unless_lost(trial):
            self._storage.set_trial_state_values(self._id(trial), TrialState.COMPLETE, values)

    @contextmanager
    def _unless_lost(self, trial: FrozenTrial) -> Iterator[None]:
        try:
            yield
        except UpdateFinishedTrialError:
            if self._storage.get_trial(self._id(trial)).state == TrialState.FAIL:
                raise TrialLostError(f"trial {trial.number} was given up meanwhile") from None

    @patiently
    def give_up(self, trial: FrozenTrial) -> None:
        """End a trial as FAIL; one that has ended stays as it is."""
        with suppress(UpdateFinishedTrialError):
            self._storage.set_trial_state_values(self._id(trial), TrialState.FAIL)

    def _id(self, trial: FrozenTrial) -> int:
        number = trial.number
        if number not in self._ids:
            self._ids[number] = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        return self._ids[number]


def worker_of(trial: FrozenTrial) -> str:
    """The worker of a RUNNING trial in words, such as `process 4711 on HOST`; `?` for what the trial does not note."""
    machine, pid = trial.user_attrs.get("worker") or ("?", "?")
    return f"process {pid} on {machine.partition(' ')[0]}"


@cache
def this_machine() -> str:
    """A name for where process ids are unique: the host, its present boot, and the container's namespace on it."""
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")  # Linux alone has them
    parts = [boot.read_text().strip() if boot.exists() else "", str(processes.readlink()) if processes.exists() else ""]
    return " ".join([platform.node(), *filter(None, parts)])
