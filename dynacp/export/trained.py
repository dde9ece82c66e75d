"""A finished run, and the clips that its exports are compared on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from budget.conventions import Convention
from budget.ledger import ledger
from budget.limits import Limits, Verdict
from dynacp.architecture import Architecture
from dynacp.cache import WAVE_SCALE, log_mels, waves
from dynacp.corpus import BASE, Corpus
from dynacp.data import Clips
from dynacp.features import FrontEnd
from dynacp.plan import read_run
from dynacp.predict import Student
from dynacp.stages import StageError, plain, read_settings

PARITY_CLIPS = 256
"""Of the test split, spread evenly over it, that an exported model is compared on."""

DTYPES = ("float32", "float16")


class ExportError(RuntimeError):
    """A student that cannot be exported as asked, or came out as something else; nothing of it is kept."""


@dataclass(frozen=True)
class Trained:
    """A run, the data that it was trained on, and the limits that its exports must keep."""

    run: Path
    data: Path
    cache: Path
    limits: Limits

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The run's, as plain JSON. Raises `StageError` for a folder that is no run."""
        return read_run(self.run)["settings"]

    @cached_property
    def front_end(self) -> FrontEnd:
        return FrontEnd(**self.settings["front_end"])

    @cached_property
    def _corpus(self) -> Corpus:
        return Corpus(self.data, self.cache, self.front_end, torch.device("cpu"))

    @property
    def dtype(self) -> str:
        """That of the students at inference."""
        return self.settings["dtype"]

    def students(self, wanted: str | None = None) -> Sequence[str]:
        """The one that is wanted, or all. Raises `StageError` for a run that is not finished, or has other data."""
        all_of_run = (BASE, *self._corpus.devices)
        names = all_of_run if wanted is None else (wanted,)
        if unknown := set(names) - {*all_of_run}:
            raise StageError(f"{self.run} has no student {unknown.pop()!r}; it has {', '.join(all_of_run)}.")
        for name in names:
            trained_on = read_settings(self.run / "students" / name)["data"]
            if trained_on != plain({**self._corpus.key, "responses": trained_on["responses"]}):
                raise StageError(f"{self.run} was not trained on {self.data}: give its `--data`.")
        return names

    @cached_property
    def base(self) -> Student:
        """To be asked, not changed."""
        return self.student(BASE)

    def student(self, name: str) -> Student:
        """Read anew, so that an export may change its dtype."""
        return Student.load(self.run, name)

    @cached_property
    def clips(self) -> Clips:
        test = self._corpus.test
        return test.take(np.unique(np.linspace(0, len(test) - 1, PARITY_CLIPS).astype(int)))

    def heard(self, *, waveform: bool) -> np.ndarray:
        """The clips, float32: log-mels [clips, 1, mels, frames], or samples [clips, samples]."""
        if waveform:
            return waves(self.clips, self.front_end.sample_rate, self.cache).astype(np.float32) / WAVE_SCALE
        return log_mels(self.clips, self.front_end, self.cache)[:, None].astype(np.float32)

    def judge(self, architecture: Architecture, convention: Convention, dtype: str) -> Verdict:
        """Raises `ExportError` for a form over the limits; says which dtype would fit."""
        verdicts = {
            each: self.limits.verdict(ledger(architecture.layers(), convention=convention, dtype=each))
            for each in DTYPES
        }
        verdict = verdicts[dtype]
        if not verdict.fits:
            fitting = [each for each in DTYPES if verdicts[each].fits]
            remedy = f"in {fitting[0]} it fits (`--dtype {fitting[0]}`)" if fitting else "no dtype makes it fit"
            raise ExportError(
                f"in {dtype}, counted as {convention.name} ({convention.summary}), a student is {verdict}. Remedy: "
                f"{remedy}; for limits that are not the challenge's, `--max-bytes` and `--max-macs`."
            )
        return verdict
