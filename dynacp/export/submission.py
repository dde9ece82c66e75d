"""A run's students as the challenge's scripts call them; goes into the packages that `--to dcase` makes.

Needs torch, torchaudio and soundfile alone, and so does all that it imports.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dynacp.audio.features import FrontEnd, LogMel
from dynacp.audio.reading import AudioError, read_recording
from dynacp.student.architecture import Architecture
from dynacp.student.model import DynaCP


class Submodel(DynaCP):
    """One student, which takes log-mels [batch, 1, mels, frames] of any float type and gives float32 logits."""

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mels [batch, 1, mels, frames] -> logits [batch, classes], float32."""
        return super().forward(log_mel.to(next(self.parameters()).dtype)).float()


class System(nn.Module):
    """The base student and the devices' students, each in the dtype of its parameters, and their front end.

    `checkpoint` holds `architecture` (a JSON text), `classes` (names), `front_end` (settings by name), `dtype` (of
    torch, by name), `students` (name -> state dict) and `base` (the base student's name). `model` holds the students in
    the order of the checkpoint, `classes` the names of the logits in theirs. Raises `KeyError` for an entry that is
    missing.
    """

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture = Architecture.from_json(checkpoint["architecture"])
        self.classes: list[str] = checkpoint["classes"]
        self.front_end = LogMel(FrontEnd(**checkpoint["front_end"]))
        self.model = nn.ModuleList(Submodel(architecture) for _ in checkpoint["students"])
        # By number, since torch refuses names of modules such as "iPhone.6" and "keys".
        self._number = {name: number for number, name in enumerate(checkpoint["students"])}
        self._base = self._number[checkpoint["base"]]
        for student, state in zip(self.model, checkpoint["students"].values(), strict=True):
            student.to(getattr(torch, checkpoint["dtype"])).load_state_dict(state)
        self.eval()

    def student(self, device_id: str) -> nn.Module:
        """The device's student; the base for a device without one, and so for any unknown name."""
        return self.model[self._number.get(device_id, self._base)]


def load_system(checkpoint: str | Path) -> System:
    """The students, classes and front end of a submission's checkpoint file, on the CPU and in evaluation mode.

    Only tensors and plain values are unpickled. Raises what `torch.load` raises, and what `System` does for a file that
    holds something else.
    """
    return System(torch.load(checkpoint, map_location="cpu", weights_only=True))


@torch.inference_mode()
def log_mels(system: System, files: Iterable[str | Path]) -> Iterator[Tensor]:
    """The log-mel [1, 1, mels, frames] of each file, in order, computed when it is asked for.

    Other rates are resampled and channels mixed. Raises `AudioError` for a file that cannot be used, and for one that
    does not last one second: the students know no other, and each second beyond would cost its MACs again.
    """
    rate = system.front_end.settings.sample_rate
    for file in files:
        samples = read_recording(file, rate).samples
        if len(samples) != rate:
            raise AudioError(
                f"{file} has {len(samples):,} samples at {rate:,} Hz, but needs {rate:,}, one second exactly; cut or "
                "pad it."
            )
        yield system.front_end(torch.from_numpy(samples)[None])


@torch.inference_mode()
def logits(system: System, inputs: Iterable[Tensor], device_ids: Iterable[str], *, use_cuda: bool) -> list[Tensor]:
    """The logits [classes] of each log-mel [1, 1, mels, frames] by its device's student, as tensors on the CPU.

    The students are moved to a GPU if one is wanted and there, else to the CPU, and compute one input at a time. A
    device without a student is the base's. Raises `ValueError` unless there is a device for each input.
    """
    place = torch.device("cuda" if use_cuda and torch.cuda.is_available() else "cpu")
    system.model.to(place)
    return [system.student(device)(each.to(place))[0].cpu() for each, device in zip(inputs, device_ids, strict=True)]


def predict(system: System, files: Sequence[str | Path], device_ids: Sequence[str], *, use_cuda: bool) -> list[Tensor]:
    """The logits [classes] of each file, in order; one log-mel is held at a time, however many files there are.

    A device without a student is the base's. With `use_cuda` they are computed on a GPU if there is one. Raises
    `AudioError` as `log_mels` does, and `ValueError` unless there is a device for each file.
    """
    if len(files) != len(device_ids):
        raise ValueError(f"there must be a device id for each of the {len(files)} files, but got {len(device_ids)}.")
    return logits(system, log_mels(system, files), device_ids, use_cuda=use_cuda)
