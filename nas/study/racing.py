"""A worker's part in the race at the end of a search (`nas.strategy.race`), beside any number of other workers.

Every worker reads from the study who is left in the race, and trains what nobody has trained yet. Who enters is noted
once, since two machines may round what the search expects of candidates a little differently.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from optuna.trial import FrozenTrial, TrialState

from nas.scoring.score import Score
from nas.strategy.race import Round, Run, entrants, survivors
from nas.study.candidate import Candidate
from nas.study.queue import Queue, TrialLostError
from nas.study.store import Store

Scoring = Callable[..., Score]
"""A `nas.scoring.score.Scorer`, or what is called as one."""


class Racer:
    """The race of a stored search, of which this worker does a part."""

    def __init__(
        self,
        rounds: Sequence[Round],
        store: Store,
        queue: Queue,
        wait: Callable[[Queue, Sequence[FrozenTrial]], None],
    ) -> None:
        """`wait` is called with trials that other workers train, where nothing else is left to do."""
        self.rounds, self.store, self.queue, self._wait = rounds, store, queue, wait

    def missing(self) -> list[tuple[Candidate, Run]]:
        """The trainings of the present round that are not done; none when the race has ended."""
        baseline, store = self.store.baseline, self.store
        if not (baseline and self.rounds):
            return []
        field = self._entrants()
        for number, each in enumerate(self.rounds):
            if number:
                field = self._left(field, each, self.rounds[number - 1])
            wanted = [(candidate, run) for run in each.runs for candidate in (baseline, *field)]
            if missing := [(one, run) for one, run in wanted if run not in store.retrainings.get(one.number, {})]:
                return missing
        return []

    @property
    def cost(self) -> int:
        """Training samples of the whole race."""
        able = sum(each.number > 0 for each in self.store.finished())
        return sum(each._replace(entrants=min(each.entrants, able)).cost for each in self.rounds)

    @property
    def spent(self) -> int:
        """Training samples of what is done of it, by all workers."""
        runs = {run for each in self.rounds for run in each.runs}
        return sum(run.samples for done in self.store.retrainings.values() for run in runs & done.keys())

    def _entrants(self) -> list[Candidate]:
        """Who enters the first round."""
        store, of = self.store, {candidate.number: candidate for candidate in self.store.candidates}
        noted = store.entrants(len(of))
        if noted is None:
            able = [each for each in store.finished() if each.number]
            merits = store.expected()
            points = [(merits[each.number].merit, each.macs) for each in able]
            chosen = entrants(points, self.rounds[0].entrants, max_macs=store.settings.limits.max_macs)
            noted = store.note_entrants(len(of), [able[index].number for index in chosen])
        return [of[number] for number in noted]

    def _left(self, field: Sequence[Candidate], following: Round, last: Round) -> list[Candidate]:
        """Who goes on, by the accuracies of the round before."""
        (run,), scores = last.runs, self.store.retrainings
        points = {each.number: (scores[each.number][run], each.macs) for each in field}
        limit = self.store.settings.limits.max_macs
        going = survivors(points, following.entrants, baseline=scores[0][run], max_macs=limit)
        return [each for each in field if each.number in going]

    def race(self, scoring: Scoring) -> Iterator[tuple[Candidate, Run, float]]:
        """Train what is missing, round by round; yields after each training of this worker the candidate, how it was
        trained, and its accuracy, the store read anew."""
        while missing := self.missing():
            living = {trial.user_attrs["training"]: trial for trial in self.queue.refresh().living}
            wanted = [each.retraining(run) for each, run in missing]
            new = [trial for trial in wanted if trial.user_attrs["training"] not in living]
            for trial in new:
                self.queue.offer(trial)
            waiting = (trial for trial in living.values() if trial.state == TrialState.WAITING)
            claimed = next(filter(None, map(self.queue.claim, waiting)), None)
            accuracy = self._retrain(claimed, scoring) if claimed else None
            if not claimed and not new:
                self._wait(self.queue, [trial for trial in living.values() if trial.state == TrialState.RUNNING])
            self.store.read()
            if claimed and accuracy is not None:
                of = {candidate.number: candidate for candidate in self.store.candidates}
                yield of[claimed.user_attrs["candidate"]], run_of(claimed), accuracy

    def _retrain(self, trial: FrozenTrial, scoring: Scoring) -> float | None:
        """Train one candidate again; None where another worker has taken it up meanwhile."""
        candidate, run = Candidate(trial), run_of(trial)
        try:
            with self.queue.working(trial):
                score = scoring(candidate.architecture, **run._asdict())
                self.queue.record(trial, run.samples, score.accuracy, {"seed": run.seed, **asdict(score)})
                self.queue.end(trial, TrialState.COMPLETE, (score.accuracy, candidate.macs))
        except TrialLostError:
            return None
        return score.accuracy


def run_of(trial: FrozenTrial) -> Run:
    """How the trial of a retraining is trained."""
    return Run(*(trial.user_attrs[name] for name in Run._fields))
