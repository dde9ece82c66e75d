"""A run's students as ONNX files: each judged, counted again in its graph, compared, and only then kept."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from budget.conventions import FOLDED
from budget.graph import GraphCount, count_graph
from budget.ledger import Ledger, ledger
from budget.limits import Verdict
from dynacp.corpus import BASE
from dynacp.export.card import card
from dynacp.export.network import Exported, input_shape
from dynacp.export.onnx_form import INPUT, describe, onnx_graph, run_onnx
from dynacp.export.parity import Parity
from dynacp.export.trained import ExportError, Trained
from dynacp.files import write_text, written_whole
from dynacp.predict import Student
from dynacp.train import PREDICTED_AT_ONCE

USAGE = """
```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{student}.onnx")
heard = np.zeros({shape}, np.float32)  # {heard}
(logits,) = session.run(None, {{"{input}": heard}})
```

Input and logits are float32, the batch is free. The file's metadata holds classes, sample rate, front end and
architecture.
"""


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
class OnnxFiles:
    """A run's students as ONNX files in one form."""

    trained: Trained
    form: Form

    @property
    def folder(self) -> Path:
        return self.trained.run / "exports" / str(self.form)

    def exports(self, students: Sequence[str]) -> Iterator[Export]:
        """Each student's, once it is kept. Raises `ExportError`."""
        heard = self.trained.heard(waveform=self.form.waveform)
        for name in students:
            yield self._kept(name, self.trained.student(name), heard)

    def write_card(self) -> Path:
        """README.md, of all files in the folder."""
        facts = [json.loads(file.read_text(encoding="utf-8")) for file in self.folder.glob("*.json")]
        facts.sort(key=lambda each: (each["student"] != BASE, each["student"]))
        waveform = self.form.waveform
        usage = USAGE.format(
            student=facts[0]["student"],
            input=INPUT[waveform],
            shape=(1, *input_shape(self.trained.base, waveform=waveform)),
            heard="one second of samples in [-1, 1]" if waveform else "as the metadata's front_end makes it",
        )
        file = self.folder / "README.md"
        write_text(file, card(self.trained, facts, form=str(self.form), library="onnx", usage=usage, convention=FOLDED))
        return file

    def _kept(self, name: str, student: Student, heard: np.ndarray) -> Export:
        form, architecture = self.form, student.network.architecture
        verdict = self.trained.judge(architecture, FOLDED, form.dtype)
        model = onnx_graph(student, form.dtype, waveform=form.waveform)
        count = count_graph(model)
        _compare(name, count.ledger, ledger(architecture.layers(), convention=FOLDED, dtype=form.dtype))
        parity = self._parity(student, model, heard)
        if form.dtype == "float32" and parity.equal_decisions < 1:
            raise ExportError(f"{name}: the exported graph decides otherwise than the student: {parity}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        export = Export(name, self.folder / f"{name}.onnx", count, verdict, parity)
        describe(model, student, count.ledger)
        with written_whole(export.file) as partial:
            onnx.save(model, partial)
        write_text(export.file.with_suffix(".json"), json.dumps(export.facts(), indent=2) + "\n")
        return export

    def _parity(self, student: Student, model: onnx.ModelProto, heard: np.ndarray) -> Parity:
        network = Exported(student, getattr(torch, self.form.dtype), waveform=self.form.waveform)
        with torch.inference_mode():
            parts = [network(part) for part in torch.from_numpy(heard).split(PREDICTED_AT_ONCE)]
        return Parity.between(torch.cat(parts).numpy(), run_onnx(model, heard))


def _compare(name: str, counted: Ledger, expected: Ledger) -> None:
    """Raise `ExportError` unless the graph's layers cost what the ledger says, one by one."""
    for ours, theirs in zip_longest(counted.rows, (row for row in expected.rows if row.parameters)):
        if ours is None or theirs is None or ours[2:] != theirs[2:]:
            raise ExportError(f"{name}: the exported graph holds {ours}, where the ledger says {theirs}.")
