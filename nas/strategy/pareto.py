"""Points of accuracy (more is better) and MACs (fewer are better): their Pareto front, hypervolume and ranking.

Where candidates are ranked by their merit, that stands in the place of the accuracy.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
"""(accuracy or merit, MACs)."""


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other beats, in ascending order of MACs; of equal points the first alone.

    `points` are (accuracy or merit, MACs). One beats another that is no better in either and worse in one.
    """
    return layers(points)[0] if points else []


def layers(points: Sequence[Point]) -> list[list[int]]:
    """The front, the front of what is left without it, and so on; each as indices in ascending order of MACs.

    `points` are (accuracy or merit, MACs); of equal points the first comes on the earlier layer.
    """
    # Going up in MACs, a point lies on the first layer that has reached less accuracy so far: the layers' heights fall,
    # so that one is found by bisection.
    found, depths = list[list[int]](), list[float]()
    for index in sorted(range(len(points)), key=lambda index: (points[index][1], -points[index][0])):
        layer = bisect_right(depths, -points[index][0])
        if layer == len(found):
            found.append([])
            depths.append(0.0)
        found[layer].append(index)
        depths[layer] = -points[index][0]
    return found


def hypervolume(points: Sequence[Point], *, reference: Point) -> float:
    """The area that the points dominate, in accuracy times MACs, above and below those of `reference`.

    `points` are (accuracy or merit, MACs), and so is `reference`: the least accuracy and the most MACs that count.
    Points that are not better than the reference in both add nothing; without any it is 0.
    """
    inside = [point for point in points if point[0] > reference[0] and point[1] < reference[1]]
    best = [inside[index] for index in front(inside)]
    heights = [reference[0], *(accuracy for accuracy, _ in best)]
    return sum(
        (accuracy - below) * (reference[1] - macs) for (accuracy, macs), below in zip(best, heights, strict=False)
    )


def losses(best: Sequence[Point], *, reference: Point) -> list[float]:
    """The hypervolume that the front `best`, in ascending order of MACs, would lose without each of its points.

    Points and `reference`, from which it is measured as in `hypervolume`, are (accuracy or merit, MACs); the losses are
    in the order of `best`, in accuracy times MACs.
    """
    below = [reference[0], *(accuracy for accuracy, _ in best)]
    beyond = [*(macs for _, macs in best[1:]), reference[1]]
    return [
        max(accuracy - max(low, reference[0]), 0) * max(min(high, reference[1]) - macs, 0)
        for (accuracy, macs), low, high in zip(best, below, beyond, strict=False)
    ]


def gains(points: Sequence[Point], best: Sequence[Point], *, reference: Point) -> npt.NDArray[np.float64]:
    """The hypervolume that the front `best`, in ascending order of MACs, would gain by each point alone, [points].

    Points and `reference`, from which it is measured as in `hypervolume`, are (accuracy or merit, MACs); the gains are
    in accuracy times MACs. `points` holds one at least; `best` may be empty.
    """
    heights = np.array([reference[0], *(accuracy for accuracy, _ in best)])
    starts = np.array([-np.inf, *(macs for _, macs in best)])
    ends = np.array([*starts[1:], np.inf])
    accuracies, macs = (np.array(column)[:, None] for column in zip(*points, strict=True))
    widths = np.clip(np.minimum(ends, reference[1]) - np.maximum(starts, macs), 0, None)
    gained: npt.NDArray[np.float64] = (np.clip(accuracies - np.maximum(heights, reference[0]), 0, None) * widths).sum(1)
    return gained


def ranking(points: Sequence[Point], *, reference: Point) -> list[int]:
    """Indices from the best to the worst: layer after layer, within a layer by the hypervolume lost without a point.

    Points and `reference`, from which hypervolume is measured as in `hypervolume`, are (accuracy or merit, MACs).
    """
    ranked = list[int]()
    for layer in layers(points):
        lost = losses([points[index] for index in layer], reference=reference)
        ranked += [index for _, index in sorted(zip(lost, layer, strict=True), key=lambda pair: (-pair[0], pair[1]))]
    return ranked
