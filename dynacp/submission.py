"""A run's students as the challenge's scripts call them; goes into the packages that `--to dcase` makes.

Needs torch, torchaudio and soundfile alone, and so does all that it imports.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dynacp.architecture import Architecture
from dynacp.features import FrontEnd, LogMel
from dynacp.model import DynaCP
from dynacp.recording import AudioError, read_recording


class Submodel(DynaCP):
    """One student. Takes log-mels [batch, 1, mels, frames] of any float type, gives float32 logits [batch, classes]."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return super().forward(log_mel.to(next(self.parameters()).dtype)).float()


class System(nn.Module):
    """The base student and the devices' students, in the dtype of their parameters, and what they hear with.

    `model` holds the students by name, `classes` the names of the logits.
    """

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture = Architecture.from_json(checkpoint["architecture"])
        self.classes: list[str] = checkpoint["classes"]
        self.base: str = checkpoint["base"]
        self.front_end = LogMel(FrontEnd(**checkpoint["front_end"]))
        self.model = nn.ModuleDict({name: Submodel(architecture) for name in checkpoint["students"]})
        for name, state in checkpoint["students"].items():
            student = self.model[name].to(getattr(torch, checkpoint["dtype"]))
            student.load_state_dict(state)
        self.eval()

    def student(self, device_id: str) -> nn.Module:
        """The device's student; the base for a device without one."""
        return self.model[device_id if device_id in self.model else self.base]


def load_system(checkpoint: str | Path) -> System:
    return System(torch.load(checkpoint, map_location="cpu", weights_only=True))


@torch.inference_mode()
def log_mels(system: System, files: Sequence[str | Path]) -> list[Tensor]:
    """A tensor [1, 1, mels, frames] for each file, in order.

    Other rates are resampled and channels mixed. Raises `AudioError` for a clip that does not last one second: the
    students know no other, and each second beyond would cost its MACs again.
    """
    rate, inputs = system.front_end.settings.sample_rate, []
    for file in files:
        samples = read_recording(file, rate).samples
        if len(samples) != rate:
            raise AudioError(
                f"{file} lasts {len(samples) / rate:.3f} s, but a student hears exactly one second; cut or pad it."
            )
        inputs.append(system.front_end(torch.from_numpy(samples)[None]))
    return inputs


@torch.inference_mode()
def logits(system: System, inputs: Sequence[Tensor], device_ids: Sequence[str], *, use_cuda: bool) -> list[Tensor]:
    """Logits [classes] of each input by its device's student, on a GPU if one is wanted and there."""
    if len(inputs) != len(device_ids):
        raise ValueError(f"there must be a device id for each of the {len(inputs)} files, but got {len(device_ids)}.")
    place = torch.device("cuda" if use_cuda and torch.cuda.is_available() else "cpu")
    system.to(place)
    return [system.student(device)(each.to(place))[0].cpu() for each, device in zip(inputs, device_ids, strict=True)]
