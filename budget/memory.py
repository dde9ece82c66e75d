"""The peak of activation memory, which is what a microcontroller's RAM must hold beside the weights.

The runtime that is meant computes one layer at a time, and each tensor as a whole:
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
from typing import NamedTuple

from budget.dtypes import DTYPES
from budget.layers import Shape


class Step(NamedTuple):
    """One step of the computation, and the tensor (channels, frequency, time) that it writes, which has its name.

    The network's input is the step that reads nothing.
    """

    name: str
    reads: tuple[str, ...]
    output: Shape
    adds: bool = False
    """Whether the step adds to a tensor of its own shape, or scales it, so that it may write into it."""

    @property
    def elements(self) -> int:
        """The number of elements of the tensor that the step writes."""
        return int(math.prod(self.output))


class Peak(NamedTuple):
    """The step at which most memory is held, and the tensors held then, each as the step that wrote it."""

    at: str
    alive: tuple[Step, ...]

    @property
    def elements(self) -> int:
        """The number of elements of all tensors held."""
        return sum(tensor.elements for tensor in self.alive)

    @property
    def bytes(self) -> dict[str, int]:
        """The bytes held, by dtype of the activations."""
        return {name: dtype.activation_bytes * self.elements for name, dtype in DTYPES.items()}


def peak(steps: Iterable[Step]) -> Peak:
    """The step at which most elements are held while the steps run in this order, and the tensors that are held then.

    Of equal steps it is the first.

    Names are unique. Raises `ValueError` for a step that reads what none before it wrote.
    """
    order = tuple(steps)
    last_reader = {name: index for index, step in enumerate(order) for name in step.reads}
    moments, held = list[Peak](), dict[str, Step]()
    for index, step in enumerate(order):
        if missing := [name for name in step.reads if name not in held]:
            raise ValueError(f"{step.name} reads {', '.join(missing)}, which no step before it writes.")
        in_place = step.adds and any(last_reader[name] == index for name in step.reads)
        written = {**held, step.name: step}
        moments.append(Peak(step.name, tuple((held if in_place else written).values())))
        held = {name: tensor for name, tensor in written.items() if last_reader.get(name, index) > index}
    return max(moments, key=lambda moment: moment.elements)
