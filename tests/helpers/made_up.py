"""Searches without training: the sampler proposes, a formula scores, and everything is kept in memory."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import optuna
from optuna.trial import create_trial

from budget.limits import Limits
from dynacp.audio.features import FrontEnd
from dynacp.student.architecture import TABLE1, Architecture
from nas.scoring.score import SHORT, Score, ScoreSettings
from nas.space.space import Space
from nas.strategy.propose import DIRECTIONS, History, Proposal, Rules, Sampler, propose
from nas.strategy.race import Run
from nas.strategy.samplers import SAMPLERS
from nas.study.candidate import Candidate
from nas.study.settings import StudySettings
from nas.study.store import Store

CHALLENGE = Limits()


def settings(space: Space, limits: Limits = CHALLENGE, dtype: str = "float16") -> StudySettings:
    """Those of a search of this space that trains nothing."""
    return StudySettings.of(
        data="made up", device="cpu", seed=0, sampler="random", rules=Rules(space, limits, dtype),
        teachers={}, score=ScoreSettings(replace(SHORT, samples=1)), front_end=FrontEnd(),
        command="python -m nas.search", classes=["a"] * 10, clips={"training": 1, "validation": 1}, threads=1,
        versions={},
    )  # fmt: skip


def made_up_score(architecture: Architecture) -> float:
    """More blocks are better, and a wider last block is."""
    return len(architecture.blocks) / 10 + architecture.blocks[-1].out / 1_000


def made_up_training(accuracy: float, *, seconds: float = 0.0) -> Score:
    """A training that came to this accuracy, and to losses that fall as it rises."""
    loss = 3 * (1 - accuracy)
    return Score(
        training_loss=loss, early_loss=1.1 * loss, late_loss=0.9 * loss, loss=0.8 * loss, accuracy=accuracy,
        cross_entropy=loss, recording_cross_entropy=loss, seconds=seconds,
    )  # fmt: skip


def scored(number: int, rules: Rules, proposal: Proposal, score: float) -> Candidate:
    """A proposal as a candidate that was trained."""
    training = {"seed": number, **asdict(made_up_training(score)), "seconds": 1.0}
    return Candidate.trained(number, rules, proposal, samples=1, training=training)


def history(done: Sequence[Candidate]) -> History:
    return History(len(done), [each.as_scored for each in done], {each.architecture for each in done})


def search(
    sampler: Sampler, rules: Rules, trials: int, *, seed: int = 0, start: Sequence[Candidate] = ()
) -> list[Candidate]:
    done = list(start)
    while len(done) < trials:
        proposal = propose(sampler, rules, history(done), seed=seed)
        done.append(scored(len(done), rules, proposal, made_up_score(proposal.architecture)))
    return done


def stored(folder: Path, scores: list[float]) -> Store:
    """Table 1 and random architectures with given search scores, in memory."""
    study, racing_study = (optuna.create_study(directions=DIRECTIONS) for _ in range(2))
    study.set_user_attr("settings", settings(Space()).content)
    rules, done = Rules(Space(), Limits(), "float16"), list[Candidate]()
    for score in scores:
        table1 = Proposal.of(TABLE1, rules)
        proposal = propose(SAMPLERS["random"], rules, history(done), seed=0) if done else table1
        done.append(scored(len(done), rules, proposal, score))
        study.add_trial(done[-1].trial)
    return Store(study, racing_study, folder)


def add_race(store: Store, number: int, accuracies: dict[int, float]) -> None:
    """Let a candidate come to the last round of the race; accuracies are by way to divide the clips."""
    for way, accuracy in accuracies.items():
        add_retraining(store, number, Run(samples=10_000, way=way, seed=way), accuracy)
    store.read()


def add_retraining(store: Store, number: int, run: Run, accuracy: float) -> None:
    """Train a candidate again; the store is to be read anew then."""
    waiting = store.candidates[number].retraining(run)
    store.race.study.add_trial(
        create_trial(
            values=(accuracy, store.candidates[number].macs),
            params=waiting.params,
            distributions=waiting.distributions,
            user_attrs=waiting.user_attrs,
            system_attrs=waiting.system_attrs,
        )
    )
