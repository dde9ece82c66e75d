"""The race at the end of a search: promising architectures are trained longer, and half of them dropped each time.

A round trains the baseline and every architecture that is left. From round to round the trainings become twice as long
and the field half as large. The last round trains the finalists in full, once for each way to divide the clips and
again as long as the budget lasts: so every recording serves as validation, and seeds and recordings both vary.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from budget.errors import UserError
from nas.strategy.pareto import Point, ranking
from nas.strategy.propose import combined_seed

FINALISTS, KEPT = 2, 2
"""Architectures in the last round, beside the baseline; one of so many goes on to the next round."""

BINS = 6
"""Equal ranges of MACs up to the limit, of which each sends its best architectures into the race."""

HOPELESS = 0.05
"""An architecture whose accuracy lies further below the baseline's goes on only where others are lacking."""

_SEEDS = 2_000_000
"""Marks the seeds of the race, so that none of them was used in the search."""


class Run(NamedTuple):
    """How an architecture is trained once: the training samples, the way to divide the clips, and the seed."""

    samples: int
    way: int
    seed: int


class Round(NamedTuple):
    """The architectures that may enter a round, beside the baseline, and how each of them is trained."""

    entrants: int
    runs: tuple[Run, ...]

    @property
    def cost(self) -> int:
        """Training samples."""
        return (self.entrants + 1) * sum(run.samples for run in self.runs)


def rounds(*, short: int, full: int, budget: int, ways: int, seed: int) -> tuple[Round, ...]:
    """The rounds of a race between trainings of `short` samples, the trial's, and `full` ones, for `budget` samples.

    Raises `UserError` for a budget that does not suffice for a last round with every one of the `ways`.
    """
    lengths = [full]
    while lengths[0] // KEPT > short:
        lengths.insert(0, lengths[0] // KEPT)
    seeds = [combined_seed(seed, _SEEDS, index) for index in range(len(lengths))]
    early = tuple(
        Round(FINALISTS * KEPT ** (len(lengths) - 1 - index), (Run(samples, index % ways, seeds[index]),))
        for index, samples in enumerate(lengths[:-1])
    )
    left = budget - sum(each.cost for each in early)
    times = left // ((FINALISTS + 1) * full * ways)
    if times < 1:
        least = budget - left + (FINALISTS + 1) * full * ways
        raise UserError(
            f"a race of {budget:,} training samples is too short: with trainings of {full:,} in its last round it "
            f"takes {least:,}, which is `--race {-(-least // full)}`; `--race 0` does without."
        )
    runs = [Run(full, index % ways, combined_seed(seed, _SEEDS, len(lengths), index)) for index in range(times * ways)]
    return (*early, Round(FINALISTS, tuple(runs)))


def entrants(points: Sequence[Point], number: int, *, max_macs: float) -> list[int]:
    """Indices of the architectures that enter: the best of each range of MACs, then the second of each, and so on.

    `points` are (accuracy or merit, MACs) as the search expects them; at most `number` of them enter.
    """
    ranges: list[list[int]] = [[] for _ in range(BINS)]
    for index in sorted(range(len(points)), key=lambda index: -points[index][0]):
        ranges[min(int(points[index][1] / max_macs * BINS), BINS - 1)].append(index)
    places = range(max(map(len, ranges)))
    return [each[place] for place in places for each in ranges if place < len(each)][:number]


def survivors(points: Mapping[int, Point], number: int, *, baseline: float, max_macs: float) -> list[int]:
    """The `number` that go on, of architectures with these (accuracy, MACs) in a round: those with most to win.

    `baseline` is the baseline's accuracy in the same round. Ranked by front after front, and within one by the
    area of accuracy against MACs that would be lost without each.
    """
    hopeless = [each for each, (accuracy, _) in points.items() if accuracy < baseline - HOPELESS]
    hopeful = [each for each in points if each not in hopeless]
    order = ranking([points[each] for each in hopeful], reference=(baseline - HOPELESS, max_macs))
    ranked = [hopeful[index] for index in order] + sorted(hopeless, key=lambda each: -points[each][0])
    return ranked[:number]
