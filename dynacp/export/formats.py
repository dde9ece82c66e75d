"""What an export is: the network that it is made from, one record for each target, and the format of one export.

A new target is a module with a class as `RuntimeFile` describes it, and a record in `TARGETS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from budget.conventions import DCASE, FOLDED, XNNPACK, Convention
from budget.errors import UserError
from budget.onnx_count import GraphCount
from dynacp.audio.features import LogMel, grouped_bank
from dynacp.pipeline.plan import COMPUTED_IN
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import Architecture


class ExportError(UserError):
    """A student that cannot be exported as asked, or that came out as something else; its export is not kept."""


class Exported(nn.Module):
    """A student as exports are made from it: log-mels [batch, 1, mels, frames] -> logits [batch, classes].

    With `waveform` it takes samples [batch, samples] in [-1, 1] instead. `dtype` is the inference dtype, a name in
    `COMPUTED_IN`, else `KeyError`; the attribute is the torch dtype. `network` replaces the student's own: one that
    computes in int8 inside, and takes and gives float32. Neither is copied: the one taken is put into that torch dtype
    and into evaluation mode. `input_name` is the name of the input, `input_shape` its shape for one clip.
    """

    def __init__(
        self, student: Student, dtype: str, *, waveform: bool = False, network: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.dtype = COMPUTED_IN[dtype]
        self.network = (student.network if network is None else network).to(self.dtype)
        self.front_end = _Evaluation(student.front_end) if waveform else nn.Identity()
        self.input_name = "wave" if waveform else "log_mel"
        rate, log_mel = student.front_end.settings.sample_rate, (1, *student.network.architecture.input)
        self.input_shape: tuple[int, ...] = (rate,) if waveform else log_mel  # of one clip
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Float32 logits [batch, classes] of float32 inputs: log-mels, or with `waveform` samples."""
        return self.network(self.front_end(inputs).to(self.dtype)).float()


class _Evaluation(nn.Module):
    """The front end with evaluation's mel bank, as tensor operations alone."""

    def __init__(self, front_end: LogMel) -> None:
        super().__init__()
        settings = front_end.settings
        self.front_end, self.bank = front_end, grouped_bank(settings, *settings.edges(), torch.device("cpu"))

    def forward(self, waves: Tensor) -> Tensor:
        return self.front_end.log_mel(waves, self.bank)


class RuntimeFile(Protocol):
    """A student as one runtime wants it, made from an `Exported` network."""

    suffix: ClassVar[str]
    """The ending of its files' names."""
    library: ClassVar[str]
    """The name that the Hugging Face hub gives the runtime."""
    adds_in_16_bits: ClassVar[bool]
    """Whether the runtime may add two 8-bit products in 16 bits, on some processor."""
    usage: ClassVar[str]
    """Markdown for the card that shows how to run the file; {student}, {input}, {shape}, {inputs} are filled in."""

    def __init__(self, exported: Exported) -> None: ...
    @staticmethod
    def prepared(network: nn.Module) -> nn.Module:
        """The network with its layers put as the runtime computes them, before it is quantised.

        It is a copy, or the network itself where there is nothing to change.
        """

    def count(self) -> GraphCount:
        """The cost of one clip, counted in the file itself by the challenge's rule for its layers.

        Raises `UnknownLayerError` for an operator without a rule.
        """

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Logits [clips, classes] by the runtime, of log-mels [clips, 1, mels, frames] or samples [clips, samples].

        All are float32.
        """

    def save(self, file: Path, metadata: dict[str, object], /) -> None:
        """Write the file, with the metadata (name -> text, or what JSON can hold) in it if it can hold any."""


@dataclass(frozen=True)
class Target:
    """A runtime, or a place, that students are exported to."""

    name: str
    """The value of `--to`."""
    convention: Convention
    """How its files are counted."""
    dtypes: tuple[str, ...]
    """The dtypes that it stores parameters in, by their names in `budget.dtypes`."""
    default_dtype: str | None = None
    """The dtype where `--dtype` is not given; None for the run's own."""
    no_waveform: str | None = None
    """Why the front end cannot be part of an export; None where it can."""
    no_response: str | None = None
    """Why a network with global response norms cannot be exported; None where it can."""
    writer: str | None = None
    """The class of its files, as module:class; None for the challenge's package (`dynacp.export.package`)."""

    def computes(self, architecture: Architecture) -> bool:
        """Whether the target can compute such a network, whatever its size."""
        return self.no_response is None or architecture.response == "none"

    def file(self) -> type[RuntimeFile]:
        """The class of its files. The first import of a runtime takes seconds.

        Raises `AssertionError` for a target without a `writer`.
        """
        assert self.writer is not None
        module, _, name = self.writer.partition(":")
        found: type[RuntimeFile] = getattr(import_module(module), name)
        return found


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("onnx", FOLDED, ("float32", "float16", "int8"), writer="dynacp.export.onnx_graph:OnnxGraph"),
        Target(
            "executorch",
            XNNPACK,
            ("float32", "int8"),  # XNNPACK's files hold float16 kernels in float32
            default_dtype="int8",
            no_waveform="XNNPACK has no Fourier transform",
            no_response="XNNPACK alone cannot compute a global response norm",
            writer="dynacp.export.executorch_program:Program",
        ),
        Target("dcase", DCASE, ("float32", "float16")),  # packages compute in PyTorch, which has no int8 of this kind
    )
}
"""All targets, by name: onnx, executorch and dcase."""


@dataclass(frozen=True)
class ExportFormat:
    """What one export is: its target, the dtype of parameters, and whether the front end is part of it (`waveform`).

    `dtype` is a name in `budget.dtypes`. Nothing is checked: a target may not store it (`Target.dtypes`).
    """

    target: Target
    dtype: str
    waveform: bool = False

    def __str__(self) -> str:
        return f"{self.target.name}-{self.dtype}" + "-waveform" * self.waveform

    @property
    def options(self) -> str:
        """The options of `python -m dynacp export` that ask for this format, but for `--waveform`."""
        return f"--to {self.target.name}" + (f" --dtype {self.dtype}" if self.target.writer else "")
