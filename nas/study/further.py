"""Candidates that are trained again, longer or with other seeds: an Optuna study beside the search's, and its queue."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from nas.scoring.score import Score
from nas.strategy.race import Run
from nas.study.candidate import Candidate, training_key
from nas.study.queue import Queue, TrialLostError
from nas.study.settings import StudyError

Scoring = Callable[..., Score]
"""Called as `scoring(architecture, seed=..., samples=..., way=...)`; the way is 0 where it is left out. Usually a
`nas.scoring.score.Scorer`.
"""

Wanted = list[tuple[Candidate, Run]]
"""Trainings to do: (candidate, how it is trained)."""

_LOOKS = "looks"  # what the attributes of a race begin with that say how often its claims are looked at

LIVING = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)
"""The states of trials that were not given up."""


class FurtherTrainings:
    """The candidates that were trained again.

    `done[candidate number][run]` holds the statistics of each finished training: `accuracy`, and the fields of
    `nas.scoring.score.Score` that its version noted. It is empty until `take` is called.
    """

    def __init__(self, study: optuna.Study, samples: int) -> None:
        """`study` holds the trainings. `samples` is a trial's length, which trainings in older studies do not note."""
        self.study, self._unnoted = study, {"samples": samples, "way": 0}
        self.done = dict[int, dict[Run, Mapping[str, float]]]()

    def trials(self) -> list[FrozenTrial]:
        """The trials that the storage holds now, but for those given up; what `take` is called with.

        They are Optuna's own, not copies: do not change them. Raises what Optuna and SQLAlchemy raise.
        """
        return self.study.get_trials(deepcopy=False, states=LIVING)

    def take(self, trials: Sequence[FrozenTrial], known: Collection[int]) -> None:
        """Rebuild `done` from these trials; `known` are the numbers of the search's candidates.

        Raises `StudyError` for a trial that lacks its notes or whose candidate is not in `known`.
        """
        self.done = {}
        for trial in trials:
            noted = self._unnoted | trial.user_attrs
            number, run = noted.get("candidate"), Run(*(noted.get(name) for name in Run._fields))  # type: ignore[arg-type]
            whole = {"training", "architecture"} <= noted.keys() and all(isinstance(each, int) for each in run)
            if not isinstance(number, int) or number not in known or not whole:
                raise StudyError(
                    f"study {self.study.study_name!r} is damaged: trial {trial.number} is of no candidate."
                )
            if trial.state == TrialState.COMPLETE:
                note = noted.get(training_key(run.samples), {})
                self.done.setdefault(number, {})[run] = {**note, "accuracy": trial.values[0]}

    @property
    def looks(self) -> int:
        """How often the claims of these trainings are looked at, at most, in all races together.

        Each race was planned before its first look.
        """
        return max(1, sum(number for name, number in self.study.user_attrs.items() if name.startswith(_LOOKS)))

    def note_looks(self, candidates: int, number: int) -> None:
        """Note how often the claims of the race of so many candidates are looked at; a lower number than before
        changes nothing."""
        name = f"{_LOOKS} of {candidates}"
        if number > self.study.user_attrs.get(name, 0):
            self.study.set_user_attr(name, number)

    def missing(self, wanted: Wanted) -> Wanted:
        """Those of the wanted trainings, (candidate, how it is trained), that are not in `done`, in the order given."""
        return [(each, run) for each, run in wanted if run not in self.done.get(each.number, {})]

    def table(self) -> pd.DataFrame:
        """A row per finished training: `candidate`, `samples`, `way` (see `Run`), `seed`, and its statistics."""
        rows = [
            {"candidate": number, **run._asdict(), **note}
            for number, notes in sorted(self.done.items())
            for run, note in sorted(notes.items(), key=lambda each: each[0])
        ]
        return pd.DataFrame(rows, columns=None if rows else ["candidate", *Run._fields, "accuracy"])


def train_again(
    missing: Callable[[], Wanted],
    queue: Queue,
    scoring: Scoring,
    *,
    read: Callable[[], None],
    wait: Callable[[Queue, Sequence[FrozenTrial]], None],
) -> Iterator[tuple[int, Run, float]]:
    """Train what is missing, beside any number of other workers, until nothing is.

    Yields (candidate number, how it was trained, accuracy in [0, 1]) after each training of this worker. `missing()`
    returns what is still to do, as (candidate, how it is trained); `queue` is that of the study of these trainings;
    `scoring(architecture, samples=, way=, seed=)` trains and scores one. `read()` is called after each pass, before any
    result is yielded, and should read the study anew; `wait(queue, running trials)` is called only when others train
    all that is left, and should sleep. An error of `scoring` passes, after its training was given up; so do those of
    Optuna and SQLAlchemy.
    """
    while wanted := [each.retraining(run) for each, run in missing()]:
        living = {trial.user_attrs["training"]: trial for trial in queue.refresh().living}
        new = [trial for trial in wanted if trial.user_attrs["training"] not in living]
        for trial in new:
            queue.offer(trial)
        waiting = (trial for trial in living.values() if trial.state == TrialState.WAITING)
        claimed = next(filter(None, map(queue.claim, waiting)), None)
        accuracy = _train(claimed, queue, scoring) if claimed else None
        if not claimed and not new:
            wait(queue, [trial for trial in living.values() if trial.state == TrialState.RUNNING])
        read()
        if claimed and accuracy is not None:
            yield claimed.user_attrs["candidate"], _run(claimed), accuracy


def _train(trial: FrozenTrial, queue: Queue, scoring: Scoring) -> float | None:
    """Train one candidate again; None where another worker has taken it up meanwhile."""
    candidate, run = Candidate(trial), _run(trial)
    try:
        with queue.working(trial):
            score = scoring(candidate.architecture, **run._asdict())
            queue.record(trial, run.samples, score.accuracy, {"seed": run.seed, **asdict(score)})
            queue.end(trial, (score.accuracy, candidate.macs))
    except TrialLostError:
        return None
    return score.accuracy


def _run(trial: FrozenTrial) -> Run:
    return Run(*(trial.user_attrs[name] for name in Run._fields))
