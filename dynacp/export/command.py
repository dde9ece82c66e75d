"""Export a finished run's students: each as a graph that is counted again, judged, compared, and only then kept."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from budget.conventions import FOLDED
from budget.graph import GraphCount, count_graph
from budget.ledger import Ledger, ledger
from budget.limits import Limits, Verdict
from dynacp.architecture import Architecture
from dynacp.cache import WAVE_SCALE, log_mels, waves
from dynacp.corpus import BASE, Corpus
from dynacp.export.network import Exported
from dynacp.export.onnx_form import describe, onnx_graph, run_onnx
from dynacp.export.parity import Parity
from dynacp.features import FrontEnd
from dynacp.files import written_whole
from dynacp.plan import read_run
from dynacp.predict import Student
from dynacp.stages import StageError, plain, read_settings
from dynacp.train import PREDICTED_AT_ONCE

PARITY_CLIPS = 256
"""Of the test split, spread evenly over it, that an exported model is compared on."""

DTYPES = ("float32", "float16")


class ExportError(RuntimeError):
    """A student that cannot be exported as asked, or came out as something else; nothing of it is kept."""


@dataclass(frozen=True)
class Form:
    """What is exported. `waveform`: the front end is part of the graph."""

    dtype: str
    waveform: bool

    def __str__(self) -> str:
        return f"onnx-{self.dtype}" + "-waveform" * self.waveform


@dataclass(frozen=True)
class Export:
    """One student's file, what was counted in it, and how it compares."""

    student: str
    file: Path
    count: GraphCount
    verdict: Verdict
    parity: Parity

    def facts(self) -> dict[str, Any]:
        """What is kept beside the file."""
        account = self.count.ledger
        return {
            "student": self.student,
            "dtype": account.dtype,
            "convention": FOLDED.name,
            "parameters": account.parameters,
            "bytes": account.bytes,
            "macs": account.macs,
            "verdict": str(self.verdict),
            "statistics_bytes": self.count.statistics_bytes,
            "front_end_bytes": self.count.front_end_bytes,
            "parity": asdict(self.parity),
        }


@dataclass(frozen=True)
class Order:
    """The students of `run` that are wanted (none named: all) in one form, with the data that it was trained on."""

    run: Path
    form: Form
    limits: Limits
    data: Path
    cache: Path
    student: str | None = None

    @cached_property
    def front_end(self) -> FrontEnd:
        return FrontEnd(**read_run(self.run)["settings"]["front_end"])

    @cached_property
    def students(self) -> Sequence[str]:
        """Raises `StageError` for a run that is not finished, or was trained on other data."""
        corpus = Corpus(self.data, self.cache, self.front_end, torch.device("cpu"))
        all_of_run = (BASE, *corpus.devices)
        wanted = all_of_run if self.student is None else (self.student,)
        if unknown := set(wanted) - {*all_of_run}:
            raise StageError(f"{self.run} has no student {unknown.pop()!r}; it has {', '.join(all_of_run)}.")
        for name in wanted:
            trained_on = read_settings(self.run / "students" / name)["data"]
            if trained_on != plain({**corpus.key, "responses": trained_on["responses"]}):
                raise StageError(f"{self.run} was not trained on {self.data}: give its `--data`.")
        return wanted

    @cached_property
    def heard(self) -> np.ndarray:
        """What the models are compared on, float32: log-mels [clips, 1, mels, frames], or samples [clips, samples]."""
        test = Corpus(self.data, self.cache, self.front_end, torch.device("cpu")).test
        clips = test.take(np.unique(np.linspace(0, len(test) - 1, PARITY_CLIPS).astype(int)))
        if self.form.waveform:
            return waves(clips, self.front_end.sample_rate, self.cache).astype(np.float32) / WAVE_SCALE
        return log_mels(clips, self.front_end, self.cache)[:, None].astype(np.float32)

    @property
    def folder(self) -> Path:
        return self.run / "exports" / str(self.form)

    def check(self) -> None:
        """Raise now for what is known to fail: `StageError`, `DataError`, `ExportError`."""
        architecture = Student.load(self.run, self.students[0]).network.architecture
        self._judge(self._expected(architecture), architecture)

    def exports(self) -> Iterator[Export]:
        """Each student's, once it is kept. Raises `ExportError`."""
        for name in self.students:
            yield self._kept(name, Student.load(self.run, name))

    def _kept(self, name: str, student: Student) -> Export:
        model = onnx_graph(student, self.form.dtype, waveform=self.form.waveform)
        count, architecture = count_graph(model), student.network.architecture
        verdict = self._judge(count.ledger, architecture)
        _compare(name, count.ledger, self._expected(architecture))
        parity = self._parity(student, model)
        if self.form.dtype == "float32" and parity.equal_decisions < 1:
            raise ExportError(f"{name}: the exported graph decides otherwise than the student: {parity}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        export = Export(name, self.folder / f"{name}.onnx", count, verdict, parity)
        describe(model, student, count.ledger)
        with written_whole(export.file) as partial:
            onnx.save(model, partial)
        with written_whole(export.file.with_suffix(".json")) as partial:
            partial.write_text(json.dumps(export.facts(), indent=2) + "\n", encoding="utf-8")
        return export

    def _parity(self, student: Student, model: onnx.ModelProto) -> Parity:
        network = Exported(student, getattr(torch, self.form.dtype), waveform=self.form.waveform)
        with torch.inference_mode():
            parts = [network(part) for part in torch.from_numpy(self.heard).split(PREDICTED_AT_ONCE)]
        return Parity.between(torch.cat(parts).numpy(), run_onnx(model, self.heard))

    def _expected(self, architecture: Architecture, dtype: str | None = None) -> Ledger:
        return ledger(architecture.layers(), convention=FOLDED, dtype=dtype or self.form.dtype)

    def _judge(self, account: Ledger, architecture: Architecture) -> Verdict:
        """Raises `ExportError` for an account over the limits; says which form would fit."""
        verdict = self.limits.verdict(account)
        if not verdict.fits:
            fitting = [dtype for dtype in DTYPES if self.limits.verdict(self._expected(architecture, dtype)).fits]
            remedy = f"in {fitting[0]} it fits (`--dtype {fitting[0]}`)" if fitting else "no dtype makes it fit"
            raise ExportError(
                f"exported in {self.form.dtype}, with batch norms merged into convolutions, a student is {verdict}. "
                f"Remedy: {remedy}; for limits that are not the challenge's, `--max-bytes` and `--max-macs`."
            )
        return verdict


def _compare(name: str, counted: Ledger, expected: Ledger) -> None:
    """Raise `ExportError` unless the graph's layers cost what the ledger says, one by one."""
    for ours, theirs in zip_longest(counted.rows, (row for row in expected.rows if row.parameters)):
        if ours is None or theirs is None or ours[2:] != theirs[2:]:
            raise ExportError(f"{name}: the exported graph holds {ours}, where the ledger says {theirs}.")
