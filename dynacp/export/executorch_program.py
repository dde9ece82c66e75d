"""ExecuTorch: the exported student as a program for phones and embedded Linux, which XNNPACK computes alone."""

import warnings
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from budget.onnx_count import GraphCount
from dynacp.export.formats import Exported
from dynacp.export.program_count import count_program

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # isort: skip
from executorch.exir import to_edge_transform_and_lower  # isort: skip
from executorch.runtime import Method, Runtime  # isort: skip

METHOD = "forward"
"""The name of the program's method."""


class Program:
    """A student as an ExecuTorch program for one clip at a time, as `RuntimeFile` describes it.

    `content` are the bytes of its .pte file.
    """

    suffix: ClassVar[str] = "pte"
    library: ClassVar[str] = "executorch"
    adds_in_16_bits: ClassVar[bool] = False
    usage: ClassVar[str] = """
```python
import torch
from executorch.runtime import Runtime

method = Runtime.get().load_program("{student}.pte").load_method("forward")
inputs = torch.zeros({shape})  # {inputs}
(logits,) = method.execute([inputs])
```

Input and logits are float32, one clip at a time; another shape is an error. In Java, Kotlin, Swift and C++ the file
runs with ExecuTorch's `Module` and the XNNPACK backend. The JSON beside it holds classes, sample rate, front end and
architecture.
"""

    def __init__(self, exported: Exported) -> None:
        example = (torch.zeros(1, *exported.input_shape),)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(exported, example)
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            self.content = bytes(lowered.to_executorch().buffer)

    @staticmethod
    def prepared(network: nn.Module) -> nn.Module:
        """A copy of the network, each of its average pools behind a layer that pads in its place.

        XNNPACK has no average pool that pads. With the kernels that would take over, a student is sixty times slower.
        """
        return _behind_zeros(deepcopy(network))

    def count(self) -> GraphCount:
        """The cost of the program, counted in its flatbuffer; raises `UnknownLayerError` as `count_program` does."""
        return count_program(self.content)

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Float32 logits [clips, classes] of float32 log-mels [clips, 1, mels, frames], one clip after the other.

        Computed by ExecuTorch's own Python runtime.
        """
        clips = torch.from_numpy(inputs).split(1)
        return np.concatenate([self._method.execute([clip.contiguous()])[0].numpy() for clip in clips])

    @cached_property
    def _method(self) -> Method:
        method = Runtime.get().load_program(self.content).load_method(METHOD)
        assert method is not None
        return method

    def save(self, file: Path, _metadata: dict[str, object]) -> None:
        """Write the program, without the metadata: `Files` writes it into a JSON beside the program."""
        file.write_bytes(self.content)


def _behind_zeros(network: nn.Module) -> nn.Module:
    for name, child in network.named_children():
        if isinstance(child, nn.AvgPool2d):
            around = child.padding
            assert isinstance(around, int)
            pool = nn.AvgPool2d(child.kernel_size, child.stride, count_include_pad=False)
            setattr(network, name, nn.Sequential(nn.ZeroPad2d(around), pool))
        else:
            _behind_zeros(child)
    return network
