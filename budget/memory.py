"""The peak of activation memory, which is what a microcontroller's RAM must hold beside the weights.

The runtime that is assumed computes one layer at a time, and each tensor as a whole:
- A tensor is held from the step that writes it to the last one that reads it. The network's input and output are
  tensors like any other.
- Batch norms, activations and reshapes happen in place, so they are no steps of their own.
- An addition writes into one of its operands if no later step reads that one; so does what scales a tensor.
- Nothing else takes memory: no tiles, no scratch space (im2col), no alignment, no fragments between tensors.

A runtime that fuses more (the parallel pool added straight onto the depthwise output) or tiles needs less, one that
holds scratch space or cannot write in place needs more.
"""

import math
from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import numpy as np

from budget.dtypes import DTYPES
from budget.layers import Count, Shape


class Step(NamedTuple):
    """A step of the computation, and the tensor that it writes. The network's input is the step that reads nothing."""

    name: str
    """The name of the step, and of the tensor that it writes."""
    reads: tuple[str, ...]
    """The names of the tensors that it reads."""
    output: Shape
    """The shape of the tensor that it writes: (channels, frequency, time)."""
    adds: bool = False
    """Whether the step adds to a tensor of its own shape, or scales it, so that it may write into it."""

    @property
    def elements(self) -> Count:
        """The number of elements of the tensor that the step writes."""
        return math.prod(self.output)


class Peak(NamedTuple):
    """The step of a computation at which the most memory is held, and the tensors held then."""

    at: str
    """The name of the step."""
    alive: tuple[Step, ...]
    """The tensors held, each as the step that wrote it."""

    @property
    def elements(self) -> int:
        """The number of elements of all tensors held."""
        return int(_elements(self.alive))

    @property
    def bytes(self) -> dict[str, int]:
        """The bytes that these tensors take, by the name of the activations' dtype (`budget.dtypes.DTYPES`)."""
        return {name: dtype.activation_bytes * self.elements for name, dtype in DTYPES.items()}


def peak(steps: Iterable[Step]) -> Peak:
    """The peak of memory while the steps run in this order: the first step at which the most elements are held.

    The steps' names must be unique. Raises `ValueError` for a step that reads what no step before it wrote, and where
    there is no step.
    """
    return max((Peak(*moment) for moment in _moments(steps)), key=lambda moment: moment.elements)


def most_elements(steps: Iterable[Step]) -> Count:
    """The elements held at the peak, as `peak` finds it, of one network or of many that take the same steps at once.

    For many, sizes of outputs are int64 arrays [networks], and so is the result. There must be one step at least.
    Raises `ValueError` as `peak` does.
    """
    return reduce(np.maximum, (_elements(alive) for _, alive in _moments(steps)))


def _moments(steps: Iterable[Step]) -> list[tuple[str, tuple[Step, ...]]]:
    """For each step its name, and the tensors that are held at it."""
    order = tuple(steps)
    last_reader = {name: index for index, step in enumerate(order) for name in step.reads}
    moments, held = list[tuple[str, tuple[Step, ...]]](), dict[str, Step]()
    for index, step in enumerate(order):
        if missing := [name for name in step.reads if name not in held]:
            raise ValueError(f"{step.name} reads {', '.join(missing)}, which no step before it writes.")
        in_place = step.adds and any(last_reader[name] == index for name in step.reads)
        written = {**held, step.name: step}
        moments.append((step.name, tuple((held if in_place else written).values())))
        held = {name: tensor for name, tensor in written.items() if last_reader.get(name, index) > index}
    return moments


def _elements(tensors: Iterable[Step]) -> Count:
    return sum(tensor.elements for tensor in tensors)
