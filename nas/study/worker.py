"""One worker of a search: it proposes, trains and scores until nothing is left, beside any number of others.

All that workers share is the study, through a `Queue`. Candidates are numbered; the lowest number that no living trial
holds is proposed next, with a seed of its own. A candidate whose worker was lost is taken up again as it was proposed;
one that was trained by then is only ended.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from dynacp.student.architecture import Architecture
from nas.strategy.propose import History, Proposal, Rules, Sampler, SpaceExhaustedError, combined_seed, propose
from nas.strategy.race import Round
from nas.study import database
from nas.study.candidate import Candidate
from nas.study.further import Scoring
from nas.study.queue import Queue, TrialLostError, worker_of
from nas.study.racing import Racer
from nas.study.store import Store

POLL_SECONDS = 1.0
"""Seconds between two looks at what other workers still train, when nothing else is left."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What a search trains."""

    rules: Rules
    """What a candidate must be."""
    baseline: Architecture
    """The network that goes first, as candidate 0, whether it is in the space and fits or not."""
    sampler: Sampler
    """What proposes candidates."""
    samples: int
    """Training samples of one trial."""
    trials: int
    """Candidates in all, the baseline among them."""
    race: Sequence[Round]
    """The rounds of the race at the end; empty for none."""
    decided: Callable[[Store], bool] = lambda _: False
    """Whether the race has decided its claims, asked between repetitions of its last round."""
    seed: int
    """The seed from which all others of the search derive."""


class Worker:
    """A worker on a stored search.

    `racer` is its part in the race. `exhausted` is set once no new architecture turns up, and None until then.
    """

    def __init__(
        self, plan: SearchPlan, store: Store, storage: RDBStorage, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """`storage` is the database that holds `store`; `tell` is called with lines about workers it waits for."""
        self.plan, self.store, self._tell = plan, store, tell
        self._awaited = set[tuple[str, int]]()
        self.exhausted: SpaceExhaustedError | None = None
        self._queue = Queue(store.study, storage, unique=("candidate", "architecture"))
        racing = Queue(store.race.study, storage, unique=("training",))
        self.racer = Racer(plan.race, store, racing, self._wait_for, plan.decided)

    @property
    def has_work(self) -> bool:
        """Whether a candidate or a training of the race is not done yet, as `store` was last read."""
        ended = sum(candidate.finished for candidate in self.store.candidates)
        return ended < self.plan.trials or bool(self.racer.missing())

    def search(self, scoring: Scoring) -> Iterator[None]:
        """Train candidates until all are finished, by any worker.

        `scoring(architecture, samples=, seed=)` trains one for so many training samples and returns its score. Yields
        whenever more was scored or has ended, by this worker or another; `store` is then read anew. An error of
        `scoring` passes, after its candidate was given up. Raises `StudyError` as `Store.read` does.
        """
        more = self._news()
        while self._went_on(scoring):
            self.store.read()
            if self.store.candidates and more():
                yield
        self.store.read()  # others may have ended the last candidates since, and the race begins with all

    def _news(self) -> Callable[[], bool]:
        """Tells whether more was scored or has ended since it was last asked."""
        known = set[tuple[int, bool]]()

        def more() -> bool:
            before = len(known)
            known.update((each.number, each.finished) for each in self.store.candidates)
            return len(known) > before

        return more

    def _went_on(self, scoring: Scoring) -> bool:
        """Do the next thing that is to be done, or wait a moment for other workers; false if nothing is left."""
        living, given_up = self._queue.refresh()
        candidates = [self.store.candidate(trial) for trial in living]
        candidates = sorted((c for c in candidates if c.number < self.plan.trials), key=lambda c: c.number)
        waiting = [candidate.trial for candidate in candidates if candidate.trial.state == TrialState.WAITING]
        if claimed := next(filter(None, map(self._queue.claim, waiting)), None):
            with suppress(TrialLostError):  # another worker has taken it up
                self._train(Candidate(claimed), scoring)
            return True
        if self._offer(candidates, given_up):
            return True
        running = [candidate.trial for candidate in candidates if candidate.trial.state == TrialState.RUNNING]
        if running:
            self._wait_for(self._queue, running)
        return bool(running or waiting)  # one that waited, but was not claimed, is another worker's now

    def _wait_for(self, queue: Queue, running: Sequence[FrozenTrial]) -> None:
        """Wait a moment; tells which candidates other workers train, once for each."""
        awaited = {(queue.study.study_name, trial.number) for trial in running}
        if awaited - self._awaited:
            self._awaited |= awaited
            self._tell(
                f"Waiting for candidates {_listed(trial.user_attrs['candidate'] for trial in running)}, which other "
                f"workers train ({_listed(map(worker_of, running))}). One that shows no life for "
                f"{database.GRACE_SECONDS} s is given up, and its candidate taken up again."
            )
        time.sleep(POLL_SECONDS)

    def _train(self, candidate: Candidate, scoring: Scoring) -> None:
        """Train a candidate, unless that was done before its worker was lost, and end it. Raises `TrialLostError`."""
        with self._queue.working(candidate.trial):
            accuracy = candidate.accuracy if candidate.scored else self._score(candidate, scoring)
            self._queue.end(candidate.trial, (accuracy, candidate.macs))

    def _score(self, candidate: Candidate, scoring: Scoring) -> float:
        # One seed for all: what an order of the clips does to all alike is no noise then (studies/score).
        samples = self.plan.samples
        seed = combined_seed(self.plan.seed, samples)
        score = scoring(candidate.architecture, samples=samples, seed=seed)
        note = {"seed": seed, **asdict(score), "seconds": round(score.seconds, 3)}
        self._queue.record(candidate.trial, samples, score.accuracy, note)
        return score.accuracy

    def _offer(self, candidates: Sequence[Candidate], given_up: Sequence[FrozenTrial]) -> bool:
        """Put the next candidate into the queue; false if there are enough, or no more."""
        held = {candidate.number for candidate in candidates}
        number = next((number for number in range(self.plan.trials) if number not in held), None)
        if number is None:
            return False
        lost = self._lost(number, candidates, given_up)
        if self.exhausted and lost is None:
            return False
        try:
            self._queue.offer(lost or self._new(number, candidates))
        except SpaceExhaustedError as error:
            self.exhausted = error
            return False
        return True

    def _lost(
        self, number: int, candidates: Sequence[Candidate], given_up: Sequence[FrozenTrial]
    ) -> FrozenTrial | None:
        """The candidate of that number whose worker was lost, one that was trained if there is any."""
        known = {candidate.architecture for candidate in candidates}
        lost = [Candidate(trial) for trial in given_up if trial.user_attrs.get("candidate") == number]
        lost = [candidate for candidate in lost if candidate.architecture not in known]
        return max(lost, key=lambda candidate: candidate.scored).requeued() if lost else None

    def _new(self, number: int, candidates: Sequence[Candidate]) -> FrozenTrial:
        rules, plan = self.plan.rules, self.plan
        if number == 0:
            proposal = Proposal.of(plan.baseline, rules)
        else:
            history = History(
                number,
                scored=[candidate.as_scored for candidate in candidates if candidate.scored and candidate.in_space],
                seen={candidate.architecture for candidate in candidates},
            )
            proposal = propose(plan.sampler, rules, history, seed=plan.seed)
        return Candidate.waiting(number, rules, proposal)


def _listed(things: Iterable[object]) -> str:
    """Things as text, each once and in order, separated by commas."""
    return ", ".join(dict.fromkeys(map(str, things)))
