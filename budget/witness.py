"""Independent counts of a built module, by the tools whose conventions `budget.conventions` states.

Each takes a module in evaluation mode and an input shape `(batch 1, channels, mels, frames)`. This is the only part
of the package that imports torch.
"""

import logging
from collections.abc import Callable

import torch
from torch import nn

InputShape = tuple[int, int, int, int]
"""(batch 1, channels, mels, frames)."""


def by_torchinfo(module: nn.Module, shape: InputShape) -> tuple[int, int]:
    """(parameters, MACs) of a module for one clip as torchinfo counts them, which is how the challenge counts.

    `module` is on the CPU and in evaluation mode; it is not changed. `shape` is that of its input, (batch 1, channels,
    mels, frames).
    """
    from torchinfo import summary

    result = summary(module, input_size=shape, verbose=0, device="cpu")
    return result.total_params, result.total_mult_adds


def by_fvcore(module: nn.Module, shape: InputShape) -> int:
    """The MACs of a module for one clip that fvcore counts; it calls them flops.

    `module` is on the CPU and in evaluation mode; it is not changed. `shape` is that of its input, (batch 1, channels,
    mels, frames). From then on fvcore logs errors alone.
    """
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(module, torch.zeros(shape))
    return int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def by_thop(module: nn.Module, shape: InputShape) -> int:
    """The MACs of a module for one clip that thop counts; `module` is on the CPU and in evaluation mode.

    `shape` is that of its input, (batch 1, channels, mels, frames). thop leaves its counters in the module, as buffers
    and hooks: hand it one that is not used afterwards.
    """
    from thop import profile

    return int(profile(module, inputs=(torch.zeros(shape),), verbose=False)[0])


def by_torch(module: nn.Module, shape: InputShape) -> int:
    """The MACs of a module's convolutions for one clip that torch's `FlopCounterMode` counts: half of its FLOPs.

    `module` is on the CPU and in evaluation mode; it is not changed. `shape` is that of its input, (batch 1, channels,
    mels, frames).
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(shape))
    return counter.get_total_flops() // 2


MAC_WITNESSES: dict[str, tuple[str, Callable[[nn.Module, InputShape], int]]] = {
    "torchinfo": ("dcase", lambda module, shape: by_torchinfo(module, shape)[1]),
    "torch": ("convolutions", by_torch),
    "fvcore": ("fvcore", by_fvcore),
    "thop": ("thop", by_thop),
}
"""Tool -> (name of the convention that it follows, function (module, input shape) -> MACs). thop is the last, since it
alters the module."""
