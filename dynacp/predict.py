"""Class probabilities of wavs, from a trained run alone: no data set, no teachers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dynacp.architecture import Architecture
from dynacp.corpus import BASE
from dynacp.features import FrontEnd, LogMel
from dynacp.model import DynaCP
from dynacp.plan import COMPUTED_IN, read_run
from dynacp.recording import AudioError, read_recording
from dynacp.stages import StageError, read_artifact
from dynacp.train import PREDICTED_AT_ONCE


@dataclass(frozen=True)
class Student:
    """A trained student and what it needs to know of the audio."""

    network: DynaCP
    front_end: LogMel
    classes: tuple[str, ...]
    dtype: torch.dtype

    @classmethod
    def load(cls, run: Path, name: str, dtype: torch.dtype | None = None) -> "Student":
        """`base`, or a device's, in the run's inference dtype or in another.

        Raises `StageError` if it is not there, damaged, or no student.
        """
        dtype = dtype or COMPUTED_IN[read_run(run)["settings"]["dtype"]]
        content = read_artifact(run / "students" / name)
        try:
            network = DynaCP(Architecture.from_json(content["architecture"]))
            network.load_state_dict(content["state"])
            front_end, classes = LogMel(FrontEnd(**content["front_end"])), tuple(content["classes"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise StageError(f"{run / 'students' / name}.pt holds something else than a student.") from None
        return cls(network.to(dtype).eval(), front_end, classes, dtype)

    @torch.inference_mode()
    def probabilities(self, seconds: np.ndarray) -> np.ndarray:
        """Of one recording, from its whole seconds [count, samples]: their logits' mean, softened; [classes]."""
        parts = torch.from_numpy(seconds).split(PREDICTED_AT_ONCE)
        logits = torch.cat([self.network(self.front_end(part).to(self.dtype)).float() for part in parts])
        return torch.softmax(logits.mean(dim=0), dim=0).numpy()


@dataclass
class Predictor:
    """The students of a run; `notes` collects what was done to a file, or in place of what was asked."""

    run: Path
    notes: list[str] = field(default_factory=list)

    def student(self, device: str | None) -> Student:
        """A device's student; the base for a device without one, or none given."""
        name = device if device and (self.run / "students" / f"{device}.pt").is_file() else BASE
        if device and name == BASE:
            self._note(f"device {device!r} has no student of its own here: the base student predicts")
        return Student.load(self.run, name)

    def table(self, files: Iterable[Path], device: str | None) -> pd.DataFrame:
        """A row per file: the likeliest class and the probability of each. Raises `AudioError` and `StageError`."""
        student, rows = self.student(device), []
        rate = student.front_end.settings.sample_rate
        for file in files:
            probabilities = student.probabilities(self._seconds(file, rate))
            best = student.classes[int(probabilities.argmax())]
            rows.append({"file": str(file), "class": best, **dict(zip(student.classes, probabilities, strict=True))})
        return pd.DataFrame(rows)

    def _seconds(self, file: Path, rate: int) -> np.ndarray:
        """The whole seconds of a file, float32 [count, rate]: mixed to mono and resampled where needed."""
        recording = read_recording(file, rate)
        wave = recording.samples
        if recording.channels > 1:
            self._note(f"{file.name}: {recording.channels} channels, mixed to one")
        if recording.own_rate != rate:
            self._note(f"{file.name}: {recording.own_rate} Hz, resampled to {rate} Hz")
        count = len(wave) // rate
        if not count:
            raise AudioError(f"{file} lasts {len(wave) / rate:.2f} s, but a student hears one second; give more.")
        if len(wave) != rate:
            self._note(f"{file.name}: {len(wave) / rate:.2f} s, the mean over {count} whole seconds")
        return np.ascontiguousarray(wave[: count * rate].reshape(count, rate))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def wavs(paths: Iterable[Path]) -> list[Path]:
    """The files given, and the wavs in the folders given. Raises `AudioError` for what is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*.wav"))
            if not inside:
                raise AudioError(f"{path} holds no .wav file.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise AudioError(f"{path} does not exist.")
    return found
