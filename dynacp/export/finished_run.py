"""A finished run, and the clips that its exports are calibrated, compared and tested on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from budget.ledger import Ledger, ledger
from budget.limits import Limits, Verdict
from budget.memory import peak
from dynacp.audio.batches import Features
from dynacp.audio.cache import WAVE_SCALE, waves
from dynacp.audio.dataset import BASE, GENERAL, Dataset
from dynacp.audio.features import FrontEnd
from dynacp.audio.tau import Clips
from dynacp.export.formats import TARGETS, ExportError, ExportFormat
from dynacp.export.parity import ClipInputs
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import COMPUTED_IN, TrainingSettings, read_plan
from dynacp.pipeline.prediction import Student
from dynacp.stages import StageError, plain, read_settings
from dynacp.student.architecture import Architecture
from dynacp.student.layers import layers_of, steps_of

PARITY_CLIPS = 256
"""The number of test clips, spread evenly over the split, on which an exported model is compared with its student."""

CALIBRATION_CLIPS = 64
"""The number of clips for int8 calibration, spread evenly over a student's training clips: 256 do no better."""

CHOICE_CLIPS = 2_048
"""The most training clips, spread evenly over a student's, whose accuracies decide whether it is fine-tuned for int8,
and which of both files is kept.
"""

TOLERATED = 0.005
"""The accuracy on training clips, in [0, 1], that calibration alone may cost a student in int8. If it costs more, the
student is fine-tuned."""


@dataclass(frozen=True)
class Trained:
    """A finished run, with the data that it was trained on and the limits that its exports must keep.

    A method's `name` is that of a student, as `students` gives it. Raises nothing until it is used: then `StageError`
    if the folder is no run, `SettingError` for a run with settings that no longer exist, and `DataError` for data that
    cannot be used.
    """

    run: Path
    """The folder of the run."""
    data: Path
    """The folder of the data set."""
    cache: Path
    """The folder that decoded clips are kept in."""
    limits: Limits
    """The limits that exports are judged by."""

    @cached_property
    def _pipeline(self) -> Pipeline:
        """The run's pipeline. Raises `StageError` for a folder that is no run."""
        return Pipeline(read_plan(self.run, self.data, self.cache))

    @property
    def settings(self) -> TrainingSettings:
        """The settings that the run was trained with."""
        return self._pipeline.settings

    @property
    def front_end(self) -> FrontEnd:
        """The settings of the run's front end."""
        return self.settings.front_end

    @property
    def _dataset(self) -> Dataset:
        return self._pipeline.dataset

    @property
    def dtype(self) -> str:
        """The name of the students' dtype at inference, one of `COMPUTED_IN`."""
        return self.settings.dtype

    def students(self, wanted: str | None = None) -> Sequence[str]:
        """The names of the students to export: the one wanted, or all, the base first.

        Raises `StageError` for a name that the run does not have, a run that is not finished, and one of other data.
        """
        all_of_run = (BASE, *self._dataset.devices)
        names = all_of_run if wanted is None else (wanted,)
        if unknown := set(names) - {*all_of_run}:
            raise StageError(f"{self.run} has no student {unknown.pop()!r}; it has {', '.join(all_of_run)}.")
        for name in names:
            trained_on = read_settings(self.run / "students" / name).get("data")
            key = {**self._dataset.key, "responses": None}  # they are the run's, and not asked for to export
            if not isinstance(trained_on, dict) or {**trained_on, "responses": None} != plain(key):
                raise StageError(f"{self.run} was not trained on {self.data}: give its `--data`.")
        return names

    @cached_property
    def base(self) -> Student:
        """The base student in float32, kept and shared, so for reading only; `student` gives one to change."""
        return self.student(BASE)

    def student(self, name: str, dtype: str = "float32") -> Student:
        """A student (`base`, or a device's), read anew from its file, so that an export may change it.

        It computes in `COMPUTED_IN[dtype]`. Raises `StageError` for a name that the run does not have, and `KeyError`
        for another dtype.
        """
        return Student.load(self.run, name, COMPUTED_IN[dtype])

    def fine_tuned(self, name: str) -> Student:
        """A student fine-tuned for int8, in float32. It is trained now, unless the run holds it already.

        Raises `StageError` where the run lacks what that needs or the training diverges, and `SettingError` for a name
        that is no device of the data.
        """
        stage = self._pipeline.fine_tuned(_device(name))
        self._pipeline.store.make(stage, lambda: None)
        return Student.load(self.run, Path(stage.name).name, torch.float32)

    def parity_inputs(self, *, waveform: bool) -> np.ndarray:
        """The at most `PARITY_CLIPS` test clips on which exports are compared, float32 [clips, 1, mels, frames].

        With `waveform` they are samples [clips, samples] in [-1, 1], else log-mels.
        """
        rows = _spread(len(self._dataset.test), PARITY_CLIPS)
        clips = self._dataset.test.take(rows)
        return self._clip_inputs(clips, self._dataset.test_features(rows), waveform=waveform).read(slice(None))

    def tested(self, name: str, *, waveform: bool) -> ClipInputs:
        """The test clips of a student's device, or all where it has none, as for the base.

        They are log-mels or, with `waveform`, samples in [-1, 1].
        """
        test = self._dataset.test
        own = test.recorded_by(_device(name))
        rows = own if len(own) else np.arange(len(test))
        return self._clip_inputs(test.take(rows), self._dataset.test_features(rows), waveform=waveform)

    def trained_on(self, name: str, *, waveform: bool) -> ClipInputs:
        """At most `CHOICE_CLIPS` clips, evenly spread over those that a student was trained on, without augmentation.

        They are log-mels or, with `waveform`, samples in [-1, 1]. Raises `IndexError` for a name that is no student's.
        """
        rows = self._dataset.rows(_device(name))
        rows = rows[_spread(len(rows), CHOICE_CLIPS)]
        clips = self._dataset.training.take(rows)
        return self._clip_inputs(clips, self._dataset.training_features(rows), waveform=waveform)

    def calibration(self, name: str) -> Tensor:
        """Float32 log-mels [clips, 1, mels, frames] of at most `CALIBRATION_CLIPS` of a student's training clips.

        They are evenly spread over these, without augmentation. Raises `IndexError` for a name that is no student's.
        """
        clips = self._dataset.training_features(self._dataset.rows(_device(name)))
        return clips[torch.from_numpy(_spread(len(clips), CALIBRATION_CLIPS))]

    def _clip_inputs(self, clips: Clips, log_mels: Features, *, waveform: bool) -> ClipInputs:
        """The clips as exports take them. Log-mels are the evaluation's; samples were not needed before."""
        if waveform:
            stored = waves(clips, self.front_end.sample_rate, self.cache)
            return ClipInputs(lambda part: stored[part].astype(np.float32) / WAVE_SCALE, clips.labels)
        numbers = torch.arange(len(clips))
        return ClipInputs(lambda part: log_mels[numbers[part]].numpy(), clips.labels)

    def verdict(self, architecture: Architecture, format: ExportFormat) -> Verdict:
        """Whether an architecture keeps the limits in a format, whether or not the target can compute it."""
        account = ledger(layers_of(architecture), convention=format.target.convention, dtype=format.dtype)
        return self.limits.verdict(account, peak(steps_of(architecture)))

    def judge(self, architecture: Architecture, format: ExportFormat) -> Verdict:
        """The verdict on an architecture that is exported in a format.

        Raises `ExportError` if the target cannot compute it, or it exceeds the limits, and says which formats would do.
        """
        formats = [other for other in self._formats() if other.target.computes(architecture)]
        if not format.target.computes(architecture):
            others = sorted({other.options for other in formats})
            raise ExportError(
                f"`--to {format.target.name}` does not go with `response` {architecture.response}: "
                f"{format.target.no_response}. Take {', '.join(f'`{each}`' for each in others)}, or train a network "
                "without it."
            )
        own, convention = self.verdict(architecture, format), format.target.convention
        if not own.fits:
            fitting = [f"`{other.options}`" for other in formats if self.verdict(architecture, other).fits]
            remedy = f"it fits as {', '.join(fitting)}" if fitting else "no format of it fits"
            raise ExportError(
                f"as {format}, counted as {convention.name} ({convention.summary}), a student is {own}. "
                f"Remedy: {remedy}; for other limits, `--max-bytes`, `--max-macs` and `--max-activation-bytes`."
            )
        return own

    def _formats(self) -> Iterator[ExportFormat]:
        """All formats that the run can be exported in; a package takes the run's own dtype."""
        for target in TARGETS.values():
            dtypes = target.dtypes if target.writer else [dtype for dtype in target.dtypes if dtype == self.dtype]
            yield from (ExportFormat(target, dtype) for dtype in dtypes)


def ledger_hash(account: Ledger) -> str:
    """A hash of a ledger: sixteen hexadecimal digits."""
    return blake2b(json.dumps(asdict(account)).encode(), digest_size=8).hexdigest()


def _device(student: str) -> str:
    return GENERAL if student == BASE else student


def _spread(clips: int, wanted: int) -> np.ndarray:
    """Indices of about `wanted` of the clips, evenly spread."""
    return np.unique(np.linspace(0, clips - 1, wanted).astype(int))
