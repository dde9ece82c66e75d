"""How many trials an hour one and two workers train on this machine's cores, against one worker on one core.

    python -m benchmarks.workers [--trials 16]

Real searches on the built-in scenes, at random, with the default budget of a trial. A worker's rate is its trials over
the time from its first trial to its last, so that starting up is left out. The ideal is as many times one core's rate
as there are cores.

Notes, from before training became twice as fast (benchmarks/step.py). On two cores: two workers of one thread each
train 1.93 times what one of them does (97 % of the ideal), one worker of two threads 1.50 times (75 %). These networks
are too small for threads: one of them waits for the other in every layer. What workers lose to each other is memory,
not the database.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path

import optuna
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table


def rate(folder: Path, study: str, *, workers: int, threads: int, trials: int, cache: Path) -> float:
    """Trials an hour, of all workers."""
    command = ["-m", "nas.search", "--study", study, "--sampler", "random", "--workers", str(workers)]
    more = ["--trials", str(trials), "--cache", str(cache), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    run = [sys.executable, *command, *more]
    subprocess.run(run, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    stored = optuna.load_study(study_name=study, storage=f"sqlite:///{folder}/studies/{study}/study.db")
    trials_of, begun, ended = Counter[str](), dict[str, datetime](), dict[str, datetime]()
    for trial in stored.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        assert trial.datetime_start is not None and trial.datetime_complete is not None
        worker = str(trial.user_attrs["worker"])
        trials_of[worker] += 1
        begun[worker] = min(begun.get(worker, datetime.max), trial.datetime_start)
        ended[worker] = max(ended.get(worker, datetime.min), trial.datetime_complete)
    return sum(number * 3600 / (ended[name] - begun[name]).total_seconds() for name, number in trials_of.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16, metavar="N", help="of each search (default: %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=user_cache_path("dynacp"), metavar="DIR", help="with the teachers"
    )
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    plan = {
        "1 worker, 1 thread": (1, 1),
        f"1 worker, {cores} threads": (1, cores),
        f"{cores} workers, 1 thread each": (cores, cores),
    }
    view, single = Table("", "trials an hour", "against one core", "of the ideal"), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, (workers, threads) in plan.items():
            study = f"{workers}-{threads}"
            found = rate(
                Path(folder), study, workers=workers, threads=threads, trials=options.trials, cache=options.cache
            )
            single = single or found
            view.add_row(
                name, f"{found:,.0f}", f"{found / single:.2f}", f"{found / single / max(workers, threads):.0%}"
            )
    Console().print(view)


if __name__ == "__main__":
    main()
