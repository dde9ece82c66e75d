"""How much of the input one position of a network's maps depends on, which is what dilations and strides are for."""

from typing import NamedTuple

from dynacp.student.architecture import STEM_STRIDE, Architecture


class ReceptiveField(NamedTuple):
    """The extent of the input, in mel bands and in frames, that one position behind a part of the network sees.

    It counts positions beyond the edges, where the network sees padding, so it may exceed the input. A global response
    norm and the head's mean see everything; both are left out.
    """

    bands: int
    """Mel bands."""
    frames: int
    """Frames of the log-mel."""


def receptive_fields(architecture: Architecture) -> tuple[ReceptiveField, ...]:
    """The receptive field behind the stem, and behind each block in order."""
    # A 3x3 kernel of dilation d reaches 2 d positions further, each as far apart as all strides before it say.
    kernels = [(1, STEM_STRIDE)] * len(architecture.stem) + [
        (each.dilation, each.stride) for each in architecture.blocks
    ]
    seen, apart, fields = [1, 1], [1, 1], list[ReceptiveField]()
    for dilation, stride in kernels:
        for axis in range(2):
            seen[axis] += 2 * dilation * apart[axis]
            apart[axis] *= stride[axis]
        fields.append(ReceptiveField(*seen))
    return tuple(fields[len(architecture.stem) - 1 :])
