"""A worker's part in the race at the end of a search (`nas.strategy.race`), beside any number of other workers.

Every worker reads from the study who is left in the race, and trains what nobody has trained yet. The entrants are
stored once: computed anew on another machine they might differ by rounding.
"""

from collections.abc import Callable, Iterator, Sequence

from optuna.trial import FrozenTrial

from nas.strategy.race import Round, Run, entrants, repetitions, survivors
from nas.study.candidate import Candidate
from nas.study.further import Scoring, Wanted, train_again
from nas.study.queue import Queue
from nas.study.store import Store


class Racer:
    """The race of a stored search, as one worker runs it beside others."""

    def __init__(
        self,
        rounds: Sequence[Round],
        store: Store,
        queue: Queue,
        wait: Callable[[Queue, Sequence[FrozenTrial]], None],
        decided: Callable[[Store], bool],
    ) -> None:
        """`rounds` is the plan, empty for no race; `queue` holds the trials of `store.race`.

        `wait(queue, running trials)` is called where other workers train all that is left, and should sleep.
        `decided(store)` tells, between two repetitions of the last round, whether no other is needed.
        """
        self.rounds, self.store, self.queue, self._wait, self._decided = rounds, store, queue, wait, decided

    def missing(self) -> Wanted:
        """The trainings of the present round that are not done, by any worker, as `store` was last read.

        Each is (candidate, how it is trained). Empty when the race has ended, and before the baseline has a score. The
        first call of any worker stores who enters.
        """
        baseline, store = self.store.baseline, self.store
        if not (baseline and self.rounds):
            return []
        field = self._entrants()
        for number, each in enumerate(self.rounds):
            if number and each.entrants == self.rounds[number - 1].entrants:
                if self._decided(store):
                    break
            elif number:
                field = self._left(field, each, self.rounds[number - 1])
            wanted = [(candidate, run) for run in each.runs for candidate in (baseline, *field)]
            if missing := store.race.missing(wanted):
                return missing
        return []

    @property
    def cost(self) -> int:
        """Training samples of the whole race, as far as there are candidates that fit to enter it."""
        able = sum(each.number > 0 for each in self.store.finished())
        return sum(each._replace(entrants=min(each.entrants, able)).cost for each in self.rounds)

    @property
    def spent(self) -> int:
        """Training samples done so far in this race, by all workers."""
        runs = {run for each in self.rounds for run in each.runs}
        return sum(run.samples for done in self.store.race.done.values() for run in runs & done.keys())

    def _entrants(self) -> list[Candidate]:
        """Who enters the first round; the first call also notes how often claims will be looked at."""
        store, of = self.store, {candidate.number: candidate for candidate in self.store.candidates}
        noted = store.entrants(len(of))
        if noted is None:
            able = [each for each in store.finished() if each.number]
            merits = store.expected()
            points = [(merits[each.number].merit, each.macs) for each in able]
            chosen = entrants(points, self.rounds[0].entrants, max_macs=store.settings.limits.max_macs)
            store.race.note_looks(len(of), repetitions(self.rounds))
            noted = store.note_entrants(len(of), [able[index].number for index in chosen])
        return [of[number] for number in noted]

    def _left(self, field: Sequence[Candidate], following: Round, last: Round) -> list[Candidate]:
        """Who goes on, by the accuracies of the round before."""
        (run,), done = last.runs, self.store.race.done
        points = {each.number: (done[each.number][run]["accuracy"], each.macs) for each in field}
        limit = self.store.settings.limits.max_macs
        going = survivors(points, following.entrants, baseline=done[0][run]["accuracy"], max_macs=limit)
        return [each for each in field if each.number in going]

    def race(self, scoring: Scoring) -> Iterator[tuple[Candidate, Run, float]]:
        """Train what is missing, round by round, until the race has ended.

        `scoring` trains and scores one architecture; it is called with the architecture and the fields of a `Run`.
        Yields (candidate, how it was trained, accuracy in [0, 1]) after each training of this worker, which ends with a
        fresh read of the store. Raises as `train_again` and `Store.read` do.
        """
        done = train_again(self.missing, self.queue, scoring, read=self.store.read, wait=self._wait)
        for number, run, accuracy in done:
            yield next(each for each in self.store.candidates if each.number == number), run, accuracy
