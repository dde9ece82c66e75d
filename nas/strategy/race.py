"""The race at the end of a search: promising architectures are trained longer, and half of them dropped each time.

A round trains the baseline and every architecture that is left. From round to round the trainings become twice as long
and the field half as large. The last round trains the finalists in full, once for each way to divide the clips: so
every recording serves as validation, and seeds and recordings both vary. It is repeated with new seeds until the claims
are decided, or the budget ends.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from budget.errors import UserError
from nas.strategy.pareto import Point, ranking
from nas.strategy.propose import combined_seed

FINALISTS = 2
"""Architectures in the last round, beside the baseline."""

KEPT = 2
"""One of this many architectures goes on to the next round; trainings grow by the same factor."""

BINS = 6
"""Equal ranges of MACs up to the limit, each of which sends its best architectures into the race."""

HOPELESS = 0.05
"""Accuracy in [0, 1]. An architecture further than this below the baseline goes on only if too few others are left to
fill the round.
"""

_SEEDS = 2_000_000
"""Marks the seeds of the race, so that none of them was used in the search."""


class Run(NamedTuple):
    """How an architecture is trained once: with so many training samples, a way to divide the clips, and a seed.

    `way` is the index of the split into training and validation clips (a row of `SearchData.held_out`).
    """

    samples: int
    way: int
    seed: int


class Round(NamedTuple):
    """One round: the most architectures that take part beside the baseline, and the trainings that each gets."""

    entrants: int
    runs: tuple[Run, ...]

    @property
    def cost(self) -> int:
        """Training samples of the whole round, the baseline's included."""
        return (self.entrants + 1) * sum(run.samples for run in self.runs)


def rounds(*, short: int, full: int, budget: int, ways: int, seed: int) -> tuple[Round, ...]:
    """Plan the rounds: the last trains `full` samples, each earlier one half as many, down to just above `short`.

    `short` is a trial's length. `budget` is in training samples, all rounds together; what is left of it pays for
    repetitions of the last round, each a round here. `ways` is the number of ways to divide the clips; all seeds derive
    from `seed`. Raises `UserError` for a budget that does not pay for a last round with every one of the ways.
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
    return (*early, *(Round(FINALISTS, tuple(runs[start : start + ways])) for start in range(0, len(runs), ways)))


def repetitions(race: Sequence[Round]) -> int:
    """How often a race trains its finalists in full, at most: that often its claims may be looked at."""
    return sum(each.entrants == race[-1].entrants for each in race)


def entrants(points: Sequence[Point], number: int, *, max_macs: float) -> list[int]:
    """Indices of the architectures that enter the race, `number` at most.

    `points` are (merit, MACs), the merit without noise (`nas.study.posterior`). The best of each of `BINS` equal ranges
    of MACs up to `max_macs` come first, the one with most merit ahead, then the second of each, and so on.
    """
    ranges: list[list[int]] = [[] for _ in range(BINS)]
    for index in sorted(range(len(points)), key=lambda index: -points[index][0]):
        ranges[min(int(points[index][1] / max_macs * BINS), BINS - 1)].append(index)
    places = range(max(map(len, ranges)))
    in_turn = [[each[place] for each in ranges if place < len(each)] for place in places]
    return [index for alike in in_turn for index in sorted(alike, key=lambda index: -points[index][0])][:number]


def survivors(points: Mapping[int, Point], number: int, *, baseline: float, max_macs: float) -> list[int]:
    """The numbers of the candidates that go on to the next round, the best first, `number` at most.

    `points` maps candidate numbers to (accuracy, MACs) in the round just ended, and `baseline` is the baseline's
    accuracy in it. They go on Pareto front by front, within a front those that add most hypervolume (up to `max_macs`)
    first; hopeless ones (`HOPELESS`) come last.
    """
    hopeless = [each for each, (accuracy, _) in points.items() if accuracy < baseline - HOPELESS]
    hopeful = [each for each in points if each not in hopeless]
    order = ranking([points[each] for each in hopeful], reference=(baseline - HOPELESS, max_macs))
    ranked = [hopeful[index] for index in order] + sorted(hopeless, key=lambda each: -points[each][0])
    return ranked[:number]
