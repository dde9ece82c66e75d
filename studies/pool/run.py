"""A pool of architectures, each trained at every rung of a growing budget, so that searches can be replayed over it.

    python -m studies.pool.run --data POCKET --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

Writes layouts.jsonl (what the pool holds) and scores.csv (a row per training) beside this file. It may be stopped at
any time: what stands in scores.csv is not trained again. Several shards may run side by side, each with one thread.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture, resolve, with_classes
from dynacp.student.layers import layers_of
from nas.space.feasible import Feasible
from nas.space.space import Space
from nas.strategy.propose import combined_seed
from studies.sharing import Rows, scorer, share, study_parser

HERE = Path(__file__).parent
LAYOUTS, SCORES = HERE / "layouts.jsonl", HERE / "scores.csv"
RUNGS = (512, 1_024, 2_048, 4_096, 8_192)
"""Training samples. Each rung is a training of its own, with a schedule and a seed of its own."""

MACS_BINS, OF_EACH, IN_BAND = range(5_000_000, 30_000_001, 5_000_000), 5, 30
BAND = 0.9
"""From this share of Table 1's MACs up to the limit: where all cost the same, MACs alone cannot tell architectures
apart."""

REPEATED, SEEDS = 4, (1, 2)
"""Layouts with more seeds than seed 0: Table 1, and others spread over the pool."""


def layouts() -> list[Architecture]:
    """Table 1, the pocket search's winner, uniform ones by number of blocks and bin of MACs, and those of the band."""
    rng, feasible = np.random.default_rng(0), Feasible(Space(), Limits())
    sizes = feasible.space.sizes
    band = (int(BAND * totals(layers_of(TABLE1)).macs), feasible.limits.max_macs)
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
        if macs[0] < totals(layers_of(network)).macs <= macs[1] and network not in found:
            found.append(network)
    return found


@dataclass(frozen=True)
class Job:
    layout: int
    samples: int
    seed: int


def jobs(number: int) -> Iterator[Job]:
    """All trainings: every architecture with seed 0 first, then the repeated ones."""
    yield from (Job(layout, samples, 0) for layout in range(number) for samples in RUNGS)
    repeated = np.linspace(0, number - 1, REPEATED).astype(int).tolist()
    yield from (Job(layout, samples, seed) for seed, layout in product(SEEDS, repeated) for samples in RUNGS)


def main() -> None:
    options = study_parser(__doc__).parse_args()
    if not LAYOUTS.exists():
        LAYOUTS.write_text("".join(json.dumps(asdict(network)) + "\n" for network in layouts()), encoding="utf-8")
    pool, rows, scoring = read_pool(), Rows(SCORES, ["layout", "samples", "seed"]), scorer(options)
    for job in share(jobs(len(pool)), options):
        if astuple(job) not in rows.done():
            network = with_classes(pool[job.layout], len(scoring.data.classes))
            score = scoring(network, samples=job.samples, seed=combined_seed(job.seed, job.samples))
            parameters, macs, _ = map(int, totals(layers_of(network)))
            cost = {"parameters": parameters, "macs": macs, "accuracy": score.accuracy, "seconds": score.seconds}
            rows.keep({**asdict(job), **cost})
            print(job, f"{score.accuracy:.3f} {score.seconds:.0f} s", flush=True)


def read_pool() -> list[Architecture]:
    """The architectures, by number."""
    return [Architecture.from_json(line) for line in LAYOUTS.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
