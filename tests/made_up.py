"""Searches without training: the sampler proposes, a formula scores, and everything is kept in memory."""

from collections.abc import Sequence

from budget.limits import Limits
from dynacp.audio.features import FrontEnd
from dynacp.student.architecture import Architecture
from nas.scoring.score import ScoreSettings
from nas.space.space import Space
from nas.strategy.propose import History, Proposal, Rules, Sampler, propose
from nas.study.candidate import Candidate
from nas.study.settings import StudySettings


def settings(space: Space) -> StudySettings:
    """Those of a search of this space that trains nothing."""
    return StudySettings.of(
        data="made up", device="cpu", seed=0, sampler="random", dtype="float16", limits=Limits(), rungs=[1],
        teachers={}, score=ScoreSettings(), space=space, front_end=FrontEnd(), command="python -m nas.search",
        classes=["a"] * 10, clips={"training": 1, "validation": 1}, threads=1, versions={},
    )  # fmt: skip


def made_up_score(architecture: Architecture) -> float:
    """More blocks are better, and a wider last block is."""
    return len(architecture.blocks) / 10 + architecture.blocks[-1].out / 1_000


def scored(number: int, rules: Rules, proposal: Proposal, score: float) -> Candidate:
    """A proposal as a candidate that was trained."""
    training = {"accuracy": score, "seed": number, "loss": 1.0, "seconds": 1.0}
    return Candidate.trained(number, rules, proposal, {1: training})


def history(done: Sequence[Candidate]) -> History:
    return History(len(done), [each.as_scored for each in done], (), {each.architecture for each in done})


def search(
    sampler: Sampler, rules: Rules, trials: int, *, seed: int = 0, start: Sequence[Candidate] = ()
) -> list[Candidate]:
    done = list(start)
    while len(done) < trials:
        proposal = propose(sampler, rules, history(done), seed=seed)
        done.append(scored(len(done), rules, proposal, made_up_score(proposal.architecture)))
    return done
