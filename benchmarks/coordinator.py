"""What a candidate costs beside its training, with 10 to 10,000 trials stored, against Optuna's ask and tell.

    python -m benchmarks.coordinator [--most 10000]

Both store in SQLite; nothing is trained. The alternative is what a script would do: let Optuna's TPE (against our
`model`) or random sampler propose until a network fits, and tell the others as pruned with their violations, every one
of them a stored trial.

Notes. On one core a candidate of local or random costs 50 to 90 ms with 10 to 1,000 trials stored, a seventh or an
eighth of Optuna's ask and tell, which stores every proposal that it rejects. The model takes 0.5 s with 100 and 1.2 s
with 1,000, two to five times what Optuna's TPE does, for a better front (studies/samplers); with 10,000 proposing alone
takes 2.6 s, since the model knows 1,000 of them and weighs 200. A training takes 4 s and more.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from budget.limits import Limits
from dynacp.audio.features import FrontEnd
from dynacp.student.architecture import TABLE1, Architecture
from nas.scoring.score import SAMPLES, Score, ScoreSettings
from nas.space.counting import sample_fitting
from nas.space.space import Space
from nas.strategy.propose import Proposal, Rules
from nas.strategy.samplers import SAMPLERS
from nas.study.candidate import Candidate
from nas.study.settings import StudySettings
from nas.study.store import Store, connect
from nas.study.worker import SearchPlan, Worker

STORED, CANDIDATES = (10, 100, 1_000, 10_000), 4

RULES = Rules(Space(), Limits(), "float16")
SETTINGS = StudySettings.of(
    data="made up", device="cpu", seed=0, sampler="random", rules=RULES,
    teachers={}, score=ScoreSettings(), front_end=FrontEnd(), command="benchmarks.coordinator",
    classes=["a"] * 10, clips={"training": 1, "validation": 1}, threads=1, versions={},
)  # fmt: skip
ALTERNATIVES: dict[str, BaseSampler] = {
    "model": TPESampler(n_startup_trials=0, multivariate=True, seed=0),
    "random": RandomSampler(seed=0),
}
"""By the sampler of ours that each stands against."""


def made_up_score(architecture: Architecture) -> float:
    return len(architecture.blocks) / 10 + architecture.blocks[-1].out / 1_000


def made_up_training(architecture: Architecture) -> Score:
    accuracy = made_up_score(architecture)
    losses = dict.fromkeys(("training_loss", "early_loss", "late_loss", "loss"), -accuracy)
    return Score(**losses, accuracy=accuracy, cross_entropy=0.0, recording_cross_entropy=0.0, seconds=0.0)


def candidates() -> Iterator[FrozenTrial]:
    """Trained ones, without end."""
    rng, number = np.random.default_rng(0), 0
    while True:
        for choices in sample_fitting(RULES.space, RULES.limits, RULES.dtype, proposals=1_000, rng=rng).values():
            proposal = Proposal.of(RULES.space.decode(choices), RULES)
            training = {"seed": number, **asdict(made_up_training(proposal.architecture))}
            yield Candidate.trained(number, RULES, proposal, samples=SAMPLES, training=training).trial
            number += 1


def ours(url: str, sampler: str, stored: int) -> float:
    """Seconds a candidate, of one worker that scores at once."""
    storage = connect("filled", url)
    store = Store.create_or_resume("filled", storage, SETTINGS)
    plan = SearchPlan(
        rules=RULES,
        baseline=TABLE1,
        sampler=SAMPLERS[sampler],
        samples=SAMPLES,
        trials=stored + CANDIDATES,
        race=(),
        seed=stored,
    )
    searching = Worker(plan, store, storage).search(lambda network, **_: made_up_training(network))
    started = time.perf_counter()
    done = sum(1 for _ in searching)
    seconds = (time.perf_counter() - started) / max(done, 1)
    storage.engine.dispose()
    return seconds


def theirs(url: str, sampler: str) -> float:
    """Seconds until `Study.ask` has given a network that fits; each of its trials is stored, and told."""
    study = optuna.load_study(study_name="filled", storage=url, sampler=ALTERNATIVES[sampler])
    distributions = RULES.space.distributions()
    started = time.perf_counter()
    for _ in range(CANDIDATES):
        while True:
            trial = study.ask(distributions)
            architecture = RULES.space.decode(trial.params)
            _, macs, bytes = map(int, RULES.cost(architecture))
            violations = RULES.limits.violations(bytes=bytes, macs=macs)
            for name, value in violations.items():
                trial.set_constraint(name, value)
            if max(violations.values()) <= 0:
                break
            study.tell(trial, state=TrialState.PRUNED)
        study.tell(trial, (made_up_score(architecture), macs))
    return (time.perf_counter() - started) / CANDIDATES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000, metavar="N", help="trials stored (default: %(default)s)")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    view = Table("stored trials", "sampler", "a candidate of ours", "Optuna's ask and tell", "ratio")
    console, made, filled = Console(), candidates(), 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the search keeps a folder there
        full = Path("full.db")
        store = Store.create_or_resume("filled", connect("filled", f"sqlite:///{full}"), SETTINGS)
        for stored in (number for number in STORED if number <= options.most):
            store.study.add_trials([next(made) for _ in range(stored - filled)])
            filled = stored
            for sampler in sorted(SAMPLERS):
                mine = ours(_copy(full), sampler, stored)
                other = theirs(_copy(full), sampler) if sampler in ALTERNATIVES else None
                figures = (
                    f"{mine * 1e3:,.0f} ms",
                    *((f"{other * 1e3:,.0f} ms", f"{other / mine:.1f}") if other else ()),
                )
                view.add_row(f"{stored:,}", sampler, *figures)
                console.print(f"{stored:,} {sampler}: {', '.join(figures)}")
    console.print(view)


def _copy(file: Path) -> str:
    """The URL of a database with the same content."""
    copied = shutil.copy(file, file.with_name("copy.db"))
    return f"sqlite:///{copied}"


if __name__ == "__main__":
    main()
