"""Many workers on one search: exactly the candidates that one worker would train, each once, whatever happens."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from itertools import count
from pathlib import Path
from time import monotonic

import made_up
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture
from nas.scoring.score import Score
from nas.space.space import Space
from nas.strategy.propose import Rules, SpaceExhaustedError
from nas.strategy.race import Run, repetitions, rounds
from nas.strategy.samplers import SAMPLERS, STARTUP_TRIALS
from nas.study.candidate import Candidate
from nas.study.store import Store, connect
from nas.study.worker import SearchPlan, Worker

RULES = Rules(Space(min_blocks=1, max_blocks=2), Limits(), "float16")
"""Of few choices: a database keeps a row for each, and these tests are about the queue."""

BASELINE = replace(TABLE1, blocks=TABLE1.blocks[:1])
RACE = rounds(short=256, full=1_024, budget=24 * 1_024, ways=2, seed=0)
"""Four architectures and Table 1 with 512 samples, then two with 1,024 in two ways, three times over."""


def plan(trials: int, sampler: str = "random") -> SearchPlan:
    return SearchPlan(
        rules=RULES,
        baseline=BASELINE,
        sampler=SAMPLERS[sampler],
        samples=256,
        trials=trials,
        race=RACE,
        seed=0,
    )


class MadeUp:
    """Scores by a hash of the architecture, the samples and the seed, after a moment that differs from one to the
    next.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.calls, self.lock = seconds, Counter[tuple[str, int, int]](), threading.Lock()

    def __call__(self, architecture: Architecture, *, seed: int, samples: int, way: int = 0) -> Score:
        with self.lock:
            self.calls[architecture.key, samples, seed] += 1
        text = f"{architecture.key} {samples} {seed} {way}"
        draw = int.from_bytes(blake2b(text.encode(), digest_size=4).digest()) / 2**32
        time.sleep(self.seconds * draw)
        return made_up.made_up_training(0.1 + 0.8 * draw, seconds=self.seconds * draw)


def worker(url: str, plan: SearchPlan, tell: Callable[[str], None] = lambda _: None) -> Worker:
    storage = connect("shared", url)
    return Worker(plan, Store.create_or_resume("shared", storage, made_up.settings(RULES.space)), storage, tell)


def work(worker: Worker, scoring: Callable[..., Score]) -> None:
    for _ in worker.search(scoring):
        pass
    for _ in worker.racer.race(scoring):
        pass


def outcome(url: str) -> dict[int, tuple[object, ...]]:
    """What is stored of each candidate, but for times."""
    store = Store.open("shared", url)
    return {
        each.number: (each.architecture, each.trial.state, *trained(each), raced(store, each.number))
        for each in store.candidates
    }


def raced(store: Store, number: int) -> dict[Run, float]:
    """The accuracy of each training of the race."""
    return {run: note["accuracy"] for run, note in store.race.done.get(number, {}).items()}


def trained(candidate: Candidate) -> tuple[int, float, float, float]:
    """The samples of its training, its score, and the training's seed and loss."""
    return candidate.samples, candidate.accuracy, candidate.training["seed"], candidate.training["loss"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nas.study.worker.POLL_SECONDS", 0.05)


def test_four_workers_train_what_one_would_each_candidate_once(database: Callable[[str], str]) -> None:
    undisturbed, busy = database("finished"), database("busy")
    work(worker(undisturbed, plan(8)), alone := MadeUp())
    workers, together = [worker(busy, plan(8)) for _ in range(4)], MadeUp(0.1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: work(each, together), workers))
    assert outcome(busy) == outcome(undisturbed)
    assert len(outcome(busy)) == 8
    assert together.calls == alone.calls
    assert set(together.calls.values()) == {1}


def test_a_worker_waits_for_the_candidate_that_another_was_quicker_to_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race would begin without that candidate."""
    url, scoring = f"sqlite:///{tmp_path / 'raced'}.db", MadeUp(0.5)
    slow, quick = worker(url, plan(1)), worker(url, plan(1))
    claim, raced = slow._queue.claim, list[FrozenTrial]()

    def beaten(trial: FrozenTrial) -> FrozenTrial | None:
        if raced:
            return claim(trial)
        raced.append(trial)
        claimed = quick._queue.claim(trial)
        assert claimed
        threading.Timer(0.3, quick._train, (Candidate(claimed), scoring)).start()
        return None

    monkeypatch.setattr(slow._queue, "claim", beaten)
    for _ in slow.search(scoring):
        pass
    (candidate,) = Store.open("shared", url).candidates
    assert candidate.finished


@pytest.mark.parametrize(("settled", "trained"), [(True, 2), (False, 6)])
def test_a_race_whose_claims_are_decided_ends_before_its_budget(tmp_path: Path, settled: bool, trained: int) -> None:
    """A repetition of the last round is one training in each of the two ways to divide the clips; there are three."""
    url, asked = f"sqlite:///{tmp_path / 'decided'}.db", list[int]()

    def decided(store: Store) -> bool:
        asked.append(sum(run.samples == 1_024 for run in store.race.done[0]))
        return settled

    work(worker(url, replace(plan(6), decided=decided)), MadeUp())
    store = Store.open("shared", url)
    assert sum(run.samples == 1_024 for run in store.race.done[0]) == trained
    assert asked[0] == 2  # not before the first repetition is whole
    assert store.race.looks == repetitions(RACE) == 3


def test_a_worker_races_with_the_candidates_that_others_left_and_not_those_that_it_saw_last(tmp_path: Path) -> None:
    url, scoring = f"sqlite:///{tmp_path / 'left'}.db", MadeUp()
    early, late = worker(url, plan(5)), worker(url, plan(5))
    for _ in late.search(scoring):
        pass
    for _ in early.search(scoring):
        pytest.fail("nothing is left to do")
    assert early.racer.missing()
    assert [each.number for each, _ in early.racer.missing()] == [each.number for each, _ in late.racer.missing()]


def test_more_trials_later_go_on_where_the_study_ended_and_fewer_change_nothing(database: Callable[[str], str]) -> None:
    whole, parts = database("whole"), database("parts")
    work(worker(whole, plan(7)), MadeUp())
    for trials in (3, 7, 2):
        work(worker(parts, plan(trials)), MadeUp())
    stored = {number: facts[:-1] for number, facts in outcome(parts).items()}
    assert stored == {number: facts[:-1] for number, facts in outcome(whole).items()}


class Killed(BaseException):
    """Stands for SIGKILL: the worker does nothing any more."""


def deaths_until_the_end(url: str, armed: Callable[[Worker, int], Callable[..., Score]]) -> int:
    """How many workers die before one ends the search. `armed` makes a worker and the number of deaths before its own
    into a scoring, and may make the worker itself deadly."""
    deaths = 0
    while True:
        victim = worker(url, plan(6))
        with pytest.MonkeyPatch.context() as patch:
            for queue in (victim._queue, victim.racer.queue):
                queue.worker = ["this machine", -1]
                patch.setattr(queue, "give_up", lambda _: None)  # the dead do not tidy up
            try:
                work(victim, armed(victim, deaths))
                return deaths
            except Killed:
                deaths += 1
                _reap(url)


def test_what_a_killed_worker_was_training_is_taken_up_as_it_was(database: Callable[[str], str]) -> None:
    undisturbed, killed, scoring = database("finished"), database("killed"), MadeUp()
    work(worker(undisturbed, plan(6)), MadeUp())

    def armed(_: Worker, deaths: int) -> Callable[..., Score]:
        def dying(architecture: Architecture, **more: int) -> Score:
            if sum(scoring.calls.values()) > 2 * deaths:
                raise Killed
            return scoring(architecture, **more)

        return dying

    assert deaths_until_the_end(killed, armed) > 5
    assert outcome(killed) == outcome(undisturbed)


def test_a_worker_that_dies_between_the_score_and_the_end_leaves_a_candidate_that_is_only_ended(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, killed, scoring = database("finished"), database("killed"), MadeUp()
    work(worker(undisturbed, plan(6)), MadeUp())

    def armed(victim: Worker, _: int) -> Callable[..., Score]:
        end = victim._queue.end

        def dying(trial: FrozenTrial, values: Sequence[float]) -> None:
            if trial.user_attrs.get("at 256") is None:
                raise Killed  # it has just been scored; who takes it up sees the score from the start
            end(trial, values)

        monkeypatch.setattr(victim._queue, "end", dying)
        return scoring

    assert deaths_until_the_end(killed, armed) >= 2
    assert outcome(killed) == outcome(undisturbed)
    assert set(scoring.calls.values()) == {1}


def test_a_candidate_that_is_lost_after_the_space_is_exhausted_is_still_taken_up(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, scoring = database("small"), MadeUp()
    one, other = worker(url, plan(9)), worker(url, plan(9))
    other._queue.worker = ["this machine", -1]
    monkeypatch.setattr(other._queue, "give_up", lambda _: None)

    def losing(architecture: Architecture, **more: int) -> Score:
        one.exhausted = SpaceExhaustedError("the first worker found nothing new while the other one trained")
        raise Killed

    with pytest.raises(Killed):
        work(other, losing)
    _reap(url)
    work(one, scoring)
    assert set(outcome(url)) == {0}, "the lost one is trained, and no other was ever proposed"


def test_a_reader_to_whom_a_server_shows_half_of_a_record_goes_by_the_note(database: Callable[[str], str]) -> None:
    """PostgreSQL reads values after attributes, and what is committed in between shows in one of them alone."""
    url = database("torn")
    one = worker(url, plan(1))
    work(one, MadeUp())
    (trial,) = one.store.study.get_trials()
    assert Candidate(trial).scored
    del trial.user_attrs["at 256"]
    assert set(trial.intermediate_values) == {256}
    assert not Candidate(trial).scored


def test_whom_a_worker_waits_for_is_said_once_and_a_clock_set_back_does_not_make_it_wait_for_ever(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, told, seconds = database("skewed"), list[str](), count(monotonic())
    other, scoring = worker(url, plan(1)), MadeUp()
    other._queue.worker = ["elsewhere 1234", 17]
    other._offer([], [])
    (trial,) = other._queue.refresh().living
    assert other._queue.claim(trial)
    with connect("shared", url).engine.begin() as connection:  # its clock was a year ahead, and it is gone
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2099-01-01 00:00:00'"))
    monkeypatch.setattr("nas.study.queue.monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr("nas.study.worker.POLL_SECONDS", 0)
    work(worker(url, plan(1), told.append), scoring)
    assert outcome(url)[0][1] == TrialState.COMPLETE
    (line,) = told
    assert "Waiting for candidates 0, which other workers train (process 17 on elsewhere)" in line
    assert "no life for 60 s" in line


def _reap(url: str) -> None:
    """As when the grace period is over."""
    for name in ("shared", "shared: fresh seeds"):
        study = optuna.load_study(study_name=name, storage=url)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def test_a_baseline_outside_the_space_goes_first_and_the_sampler_learns_from_the_others_alone(tmp_path: Path) -> None:
    outside = replace(TABLE1, blocks=(replace(TABLE1.blocks[0], dilation=4),))
    own = replace(plan(STARTUP_TRIALS + 2, "model"), baseline=outside)
    done = worker(f"sqlite:///{tmp_path / 'outside.db'}", own)
    work(done, MadeUp())
    first, *others = done.store.candidates
    assert first.architecture == outside
    assert not first.in_space
    assert len(others) == STARTUP_TRIALS + 1
    assert all(each.in_space for each in others)
    assert first.number in done.store.race.done
