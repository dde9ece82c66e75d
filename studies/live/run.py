"""Does the default way of searching find more than chance does, live? Searches on the pocket set, each of equal cost.

    python studies/live/run.py --data POCKET --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

Every search is one of `python -m nas.search`'s, with its worker, storage and trainings, but ends when these have taken
COST samples. The front that it found is judged as in ../replay: trained again with 8,192 samples and a seed that
no search used. Searches are kept under runs/live, so the command may be stopped and given again. Writes searches.csv (a
row per search) beside this file.
"""

import argparse
import os
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import optuna
import pandas as pd
import torch
from filelock import FileLock

from budget.limits import Limits
from dynacp.architecture import TABLE1, with_classes
from dynacp.teachers import TeacherSettings
from nas.front import hypervolume
from nas.material import load_material
from nas.propose import Rules, derived_seed
from nas.samplers import SAMPLERS
from nas.score import TEACHERS, Scorer, ScoreSettings
from nas.space import Space
from nas.store import Store, connect, default_storage, study_folder
from nas.worker import Plan, Worker

HERE, RUNS = Path(__file__).resolve().parent, Path("runs/live")
COST, JUDGED, SEEDS = 100_000, 8_192, range(2)
JUDGE_SEED = derived_seed(2026, JUDGED)


@dataclass(frozen=True)
class Strategy:
    sampler: str
    rungs: tuple[int, ...]

    @property
    def ladder(self) -> str:
        return "-".join(map(str, self.rungs))

    def __str__(self) -> str:
        return f"{self.sampler}-{self.ladder}"


STRATEGIES = (Strategy("tpe", (2_048,)), Strategy("random", (2_048,)))


def main() -> None:
    form = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form.add_argument("--data", type=Path, required=True)
    form.add_argument("--mn", type=Path, required=True)
    form.add_argument("--cache", type=Path, required=True)
    form.add_argument("--shard", default="1/1", metavar="K/N")
    options = form.parse_args()
    shard, shards = map(int, options.shard.split("/"))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scorer = scorer_of(options.data.resolve(), replace(TEACHERS, mn=options.mn.resolve()), options.cache.resolve())
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    os.chdir(RUNS)
    for seed, strategy in list(product(SEEDS, STRATEGIES))[shard - 1 :: shards]:
        keep(searched(strategy, seed, scorer))


def scorer_of(data: Path, teachers: TeacherSettings, cache: Path) -> Scorer:
    material = load_material(data, seed=0, cache=cache, device=torch.device("cpu"))
    ensemble = material.ensemble(teachers, seed=0, folder=cache, on_step=lambda *_: None)
    return Scorer.from_ensemble(material, ensemble, ScoreSettings())


def searched(strategy: Strategy, seed: int, scorer: Scorer) -> dict[str, object]:
    """One search, from nothing or from where it was, and the judgement of its front."""
    name, limits = f"{strategy}-{seed}", Limits()
    frame = with_classes(TABLE1, len(scorer.material.classes))
    identity = {"space": {"classes": frame.classes}, "limits": {"max_macs": limits.max_macs}, "strategy": name}
    study_folder(name).mkdir(parents=True, exist_ok=True)
    storage = connect(name, default_storage(name))
    store = Store.create_or_resume(name, storage, {"identity": identity})
    rules, sampler = Rules(Space(frame), limits, "float16"), SAMPLERS[strategy.sampler]
    plan = Plan(rules, frame, sampler, strategy.rungs, trials=10_000, fresh_seeds=0, seed=seed)
    if spent(store) < COST:
        for _ in Worker(plan, store, storage).search(scorer):
            print(f"{name}: {spent(store):,} samples", flush=True)
            if spent(store) >= COST:
                break
    found = store.front()
    judged = [scorer(each.architecture, samples=JUDGED, seed=JUDGE_SEED).accuracy for each in found]
    reference = (1 / frame.classes, float(limits.max_macs))
    volume = hypervolume([(score, each.macs) for score, each in zip(judged, found, strict=True)], reference=reference)
    return {
        "sampler": strategy.sampler, "rungs": strategy.ladder, "seed": seed,
        "candidates": len(store.candidates), "samples": spent(store), "found": len(found),
        "hypervolume": volume / ((1 - reference[0]) * reference[1]), "best": max(judged),
    }  # fmt: skip


def spent(store: Store) -> int:
    """Training samples."""
    return sum(sum(each.scores) for each in store.candidates)


def keep(row: dict[str, object]) -> None:
    file = HERE / "searches.csv"
    with FileLock(HERE / "searches.lock"):
        pd.DataFrame([row]).to_csv(file, mode="a", header=not file.exists(), index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
