"""What an export is made from: a student that takes and gives float32, whatever it computes in."""

import torch
from torch import Tensor, nn

from dynacp.features import LogMel, grouped_bank
from dynacp.predict import Student


def input_shape(student: Student, *, waveform: bool) -> tuple[int, ...]:
    """Of one clip: samples, or a log-mel."""
    return (student.front_end.settings.sample_rate,) if waveform else (1, *student.network.architecture.input)


class Exported(nn.Module):
    """Logits [batch, classes] of log-mels [batch, 1, mels, frames], or with `waveform` of samples [batch, samples]."""

    def __init__(self, student: Student, dtype: torch.dtype, *, waveform: bool) -> None:
        super().__init__()
        self.network, self.dtype = student.network.to(dtype), dtype
        self.front_end = _Evaluation(student.front_end) if waveform else nn.Identity()
        self.eval()

    def forward(self, heard: Tensor) -> Tensor:
        return self.network(self.front_end(heard).to(self.dtype)).float()


class _Evaluation(nn.Module):
    """The front end with the bank of evaluation, and without a choice of what to do."""

    def __init__(self, front_end: LogMel) -> None:
        super().__init__()
        settings = front_end.settings
        self.front_end, self.bank = front_end, grouped_bank(settings, *settings.edges(), torch.device("cpu"))

    def forward(self, waves: Tensor) -> Tensor:
        return self.front_end.log_mel(waves, self.bank)
