"""What an export is made from: a student that takes and gives float32, whatever it computes in."""

import torch
from torch import Tensor, nn

from dynacp.audio.features import LogMel, grouped_bank
from dynacp.pipeline.plan import COMPUTED_IN
from dynacp.pipeline.prediction import Student


class Exported(nn.Module):
    """A student as exports are made from it: log-mels [batch, 1, mels, frames] -> logits [batch, classes].

    With `waveform` it takes samples [batch, samples] instead.

    `network` stands in for the student's own: one that computes in int8 inside, and takes and gives float32.
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
