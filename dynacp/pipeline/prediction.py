"""Class probabilities of recordings, from a trained run alone: no data set, no teachers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.dataset import BASE, FINE_TUNED
from dynacp.audio.features import FrontEnd, LogMel
from dynacp.audio.reading import AudioFile, UnusableAudioError, opened
from dynacp.pipeline.plan import COMPUTED_IN, read_run
from dynacp.stages import StageError, read_artifact
from dynacp.student.architecture import Architecture
from dynacp.student.model import DynaCP
from dynacp.training.loop import PREDICTED_AT_ONCE

NAMED_FILES = 3
"""The most files that a note names, of all that it is about."""


@dataclass(frozen=True)
class Student:
    """A trained student, and all that it takes to predict recordings with it."""

    network: DynaCP
    """The network, in evaluation mode."""
    front_end: LogMel
    """Computes its log-mels from samples."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the logits."""
    dtype: torch.dtype
    """The dtype that the network computes in."""

    @classmethod
    def load(cls, run: Path, name: str, dtype: torch.dtype | None = None) -> "Student":
        """The run's student of that name (`base`, or a device), in `dtype`; None is that of the run (`COMPUTED_IN`).

        It is read anew each time, onto the CPU. Raises `StageError` if it is not there (as for an unknown name),
        damaged, or no student, and for a folder that is no run.
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

    def probabilities(self, seconds: np.ndarray) -> np.ndarray:
        """The class probabilities [classes] of one recording: the softmax of the mean logits of its whole seconds.

        `seconds` are float32 samples in [-1, 1] at the front end's rate, [count, samples], each row a second.
        """
        return self._softened([self._logits(seconds)])

    def of_recording(self, audio: AudioFile) -> tuple[np.ndarray, int]:
        """The class probabilities [classes] of one recording, and its length in samples at the front end's rate.

        They are the softmax of the mean logits of its whole seconds; a rest is left out. Raises `UnusableAudioError` if
        it cannot be read, or lasts less than a second.
        """
        rate, samples, logits = self.front_end.settings.sample_rate, 0, []
        for block in audio.blocks(rate):
            samples += len(block)
            if count := len(block) // rate:
                logits.append(self._logits(block[: count * rate].reshape(count, rate)))
        if not logits:
            fault = f"lasts {_seconds(samples, rate)} s, but a student takes one second"
            raise UnusableAudioError(audio.file, fault, "give more")
        return self._softened(logits), samples

    @torch.inference_mode()
    def _logits(self, seconds: np.ndarray) -> Tensor:
        parts = torch.from_numpy(seconds).split(PREDICTED_AT_ONCE)
        return torch.cat([self.network(self.front_end(part).to(self.dtype)).float() for part in parts])

    @staticmethod
    def _softened(logits: list[Tensor]) -> np.ndarray:
        return torch.softmax(torch.cat(logits).mean(dim=0), dim=0).numpy()


@dataclass(frozen=True)
class Prediction:
    """What a student says of a file."""

    file: Path
    """The audio file."""
    probabilities: dict[str, float]
    """Class -> its probability, in [0, 1], in the order of the student's classes."""

    @property
    def best(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


class Notes:
    """What was done to files so that they could be predicted. Iteration gives lines, one for all files of a kind."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._kinds: dict[str, tuple[int, list[str], str]] = {}

    def say(self, text: str) -> None:
        """Add a line of its own."""
        self._said.append(text)

    def add(self, file: Path, what: str, like: str) -> None:
        """Note what was found in a file, such as "2 channels, mixed to one".

        Files with the same `like`, such as "of several channels", share a line. It says `what` of the first of them,
        and counts the others as "3 more of several channels".
        """
        count, names, first = self._kinds.get(like, (0, [], what))
        self._kinds[like] = count + 1, [*names, file.name][:NAMED_FILES], first

    def __iter__(self) -> Iterator[str]:
        yield from self._said
        for like, (count, names, what) in self._kinds.items():
            others = f"{', '.join(names[1:])}{', ...' * (count > len(names))}"
            yield f"{names[0]}: {what}" + (f"; {count - 1:,} more {like}: {others}" if count > 1 else "")


class Predictor:
    """Predicts files by a run's students; `notes` say what was done to files, or in place of what was asked.

    `run` is the folder of the run, which is first looked at when a student is asked for.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.notes = run, Notes()

    def student(self, device: str | None) -> Student:
        """A device's student; the base for None, and, with a note, for a device that has none.

        Raises `StageError` as `Student.load` does.
        """
        own = {file.stem for file in (self.run / "students").glob("*.pt") if not file.stem.endswith(FINE_TUNED)}
        name = device if device in own else BASE
        if device and name == BASE:
            self.notes.say(f"device {device!r} has no student of its own here: the base student predicts")
        return Student.load(self.run, name)

    def predict(self, student: Student, file: Path) -> Prediction:
        """The prediction of one file, of any length from a second on. Notes what was done to it.

        Raises `UnusableAudioError` for a file that cannot be used.
        """
        with opened(file) as audio:
            probabilities, samples = student.of_recording(audio)
        self._note(file, audio, samples, student.front_end.settings.sample_rate)
        return Prediction(file, dict(zip(student.classes, probabilities.tolist(), strict=True)))

    def _note(self, file: Path, audio: AudioFile, samples: int, rate: int) -> None:
        note, count = self.notes.add, samples // rate
        if audio.channels > 1:
            note(file, f"{audio.channels} channels, mixed to one", "of several channels")
        if audio.own_rate != rate:
            note(file, f"{audio.own_rate} Hz, resampled to {rate} Hz", "of other rates")
        if samples != rate:
            whole = f"the mean over {count} whole second{'s' * (count > 1)}"
            note(file, f"{_seconds(samples, rate)} s, {whole}", "of other lengths")
        if audio.peak > 1:
            note(file, f"samples of magnitude {audio.peak:.4g}, clipped to [-1, 1]", "beyond full scale")
        if audio.silent:
            note(file, "digital silence, its prediction means nothing", "silent")


def _seconds(samples: int, rate: int) -> str:
    """A length in seconds as text, rounded down so that nothing below a second is called one."""
    return f"{samples * 100 // rate / 100:.2f}"
