"""A pool of layouts, each trained at every rung of a growing budget, so that searches can be replayed over it.

    python studies/pool/run.py --data POCKET --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

Writes layouts.jsonl (what the pool holds) and scores.csv (a row per training) beside this file. It may be stopped at
any time: what stands in scores.csv is not trained again. Several shards may run side by side, each with one thread.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from budget.limits import Limits
from dynacp.architecture import TABLE1, Architecture, resolve, with_classes
from nas.counting import count
from nas.feasible import Feasible
from nas.material import load_material
from nas.propose import derived_seed
from nas.score import TEACHERS, Scorer, ScoreSettings
from nas.space import Space

HERE = Path(__file__).parent
RUNGS = (512, 1_024, 2_048, 4_096, 8_192)
"""Training samples. Each rung is a training of its own, with a schedule and a seed of its own."""

MACS_BINS, OF_EACH, IN_BAND = range(5_000_000, 30_000_001, 5_000_000), 5, 30
BAND = 0.9
"""From this share of Table 1's MACs up to the limit: where all cost the same, MACs alone cannot tell layouts apart."""

REPEATED, SEEDS = 4, (1, 2)
"""Layouts with more seeds than seed 0: Table 1, and others spread over the pool."""


def layouts() -> list[Architecture]:
    """Table 1, the pocket search's winner, uniform ones by number of blocks and bin of MACs, and those of the band."""
    rng, feasible = np.random.default_rng(0), Feasible(Space(), Limits())
    sizes = feasible.space.sizes
    band = (int(BAND * count([TABLE1])[0, 1]), feasible.limits.max_macs)
    asked = [*product(sizes, pairwise(MACS_BINS), [OF_EACH]), *product(sizes, [band], [IN_BAND // len(sizes)])]
    mixed = [network for blocks, macs, number in asked for network in _between(feasible, blocks, macs, number, rng)]
    winner = resolve(str(HERE.parent / "pocket" / "export" / "pocket-54.json"))
    return [TABLE1, winner, *(mixed[index] for index in rng.permutation(len(mixed)))]


def _between(
    feasible: Feasible, blocks: int, macs: tuple[int, int], number: int, rng: np.random.Generator
) -> list[Architecture]:
    """Uniform among those of so many blocks and MACs in (macs[0], macs[1]]."""
    found = list[Architecture]()
    while len(found) < number:
        (network,) = feasible.sample(blocks, 1, rng)
        if macs[0] < count([network])[0, 1] <= macs[1] and network not in found:
            found.append(network)
    return found


@dataclass(frozen=True)
class Job:
    layout: int
    samples: int
    seed: int


def jobs(number: int) -> Iterator[Job]:
    """All trainings: every layout with seed 0 first, then the repeated ones."""
    yield from (Job(layout, samples, 0) for layout in range(number) for samples in RUNGS)
    repeated = np.linspace(0, number - 1, REPEATED).astype(int).tolist()
    yield from (Job(layout, samples, seed) for seed, layout in product(SEEDS, repeated) for samples in RUNGS)


def main() -> None:
    form = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form.add_argument("--data", type=Path, required=True)
    form.add_argument("--mn", type=Path, required=True)
    form.add_argument("--cache", type=Path, required=True)
    form.add_argument("--shard", default="1/1", metavar="K/N")
    options = form.parse_args()
    shard, shards = map(int, options.shard.split("/"))
    pool = _pool()
    material = load_material(options.data, seed=0, cache=options.cache, device=torch.device("cpu"))
    teachers = replace(TEACHERS, mn=options.mn)
    with FileLock(HERE / "teachers.lock"):  # one shard fine-tunes them, the others wait
        ensemble = material.ensemble(teachers, seed=0, folder=options.cache, on_step=lambda *_: None)
    torch.set_num_threads(1)
    for job in list(jobs(len(pool)))[shard - 1 :: shards]:
        if job not in _done():
            settings = ScoreSettings()
            settings = replace(settings, recipe=replace(settings.recipe, samples=job.samples))
            scorer = Scorer.from_ensemble(material, ensemble, settings)
            network = with_classes(pool[job.layout], len(material.classes))
            score = scorer(network, seed=derived_seed(job.seed, job.samples))
            parameters, macs = count([network])[0].tolist()
            row = {"parameters": parameters, "macs": macs, "accuracy": score.accuracy, "seconds": score.seconds}
            _keep({**asdict(job), **row})
            print(job, f"{score.accuracy:.3f} {score.seconds:.0f} s", flush=True)


def _pool() -> list[Architecture]:
    """The layouts, drawn once."""
    file = HERE / "layouts.jsonl"
    with FileLock(HERE / "pool.lock"):
        if not file.exists():
            file.write_text("".join(json.dumps(asdict(network)) + "\n" for network in layouts()), encoding="utf-8")
    return [Architecture.from_json(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _done() -> set[Job]:
    with FileLock(HERE / "pool.lock"):
        if not (HERE / "scores.csv").exists():
            return set()
        rows = pd.read_csv(HERE / "scores.csv")
    return {Job(*map(int, row)) for row in rows[["layout", "samples", "seed"]].to_numpy()}


def _keep(row: dict[str, object]) -> None:
    file = HERE / "scores.csv"
    with FileLock(HERE / "pool.lock"):
        pd.DataFrame([row]).to_csv(file, mode="a", header=not file.exists(), index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
