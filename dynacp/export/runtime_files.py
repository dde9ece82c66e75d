"""A run's students as files for a runtime: each judged, counted again in its file, compared, and only then kept."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from budget.ledger import Ledger, Row, ledger
from budget.limits import Verdict
from budget.memory import peak
from budget.onnx_count import GraphCount
from dynacp.audio.dataset import BASE
from dynacp.export.card import card
from dynacp.export.finished_run import TOLERATED, Trained, ledger_hash
from dynacp.export.formats import Exported, ExportError, ExportFormat, RuntimeFile
from dynacp.export.parity import Accuracy, Choice, Parity
from dynacp.files import write_text, written_whole
from dynacp.pipeline.prediction import Student
from dynacp.strict_json import JSONError, check_shape, read_json
from dynacp.student.int8 import quantised
from dynacp.student.layers import layers_of, steps_of
from dynacp.training.loop import PREDICTED_AT_ONCE


@dataclass(frozen=True, kw_only=True)
class Export:
    """One student's exported file, what was counted in it, and how it compares with the student."""

    student: str
    """The student's name: `base`, or that of its device."""
    format: ExportFormat
    """The format of the file."""
    file: Path
    """The file that was written."""
    count: GraphCount
    """The cost that was counted in the file."""
    verdict: Verdict
    """Whether the student keeps the limits in this format."""
    parity: Parity
    """How the file's logits compare with those of the student that it was made from, on test clips."""
    choice: Choice | None
    """The accuracies that decided on fine-tuning, for students in int8; None for others."""
    accuracy: Accuracy | None
    """Accuracies on test clips in float32 and in int8, for students in int8; None for others."""
    peak_activation_bytes: int
    """The peak of activation memory in this format's dtype, in bytes for one clip (`budget.memory`)."""

    def __str__(self) -> str:
        account = self.count.ledger
        apart = {
            "the front end's constants": self.count.front_end_bytes,
            "running statistics": self.count.statistics_bytes,
            "scales and zero points": self.count.quantiser_bytes,
        }
        uncounted = ", ".join(f"{what} {size:,} bytes" for what, size in apart.items() if size)
        return (
            f"{self.file}: {account.parameters:,} parameters, {account.bytes:,} bytes, {account.macs:,} MACs "
            f"({self.format.target.convention.name}): {self.verdict}. {self.parity}."
            + (f" Not counted: {uncounted}." if uncounted else "")
            + "".join(f" {figures}." for figures in (self.choice, self.accuracy) if figures)
        )

    def facts(self) -> dict[str, Any]:
        """What is kept of this export as JSON beside the file: strings, numbers, dicts or None by name.

        `student`, `dtype`, `convention` (its name) and `verdict` (in words); `parameters`, `bytes` and `macs` as
        counted in the file; `statistics_bytes`, `front_end_bytes` and `quantiser_bytes`, which `bytes` leaves out;
        `peak_activation_bytes`; `parity`, `choice` and `accuracy`, the fields of those records, the latter two None
        but in int8.
        """
        account = self.count.ledger
        return {
            "student": self.student,
            "dtype": account.dtype,
            "convention": self.format.target.convention.name,
            "parameters": account.parameters,
            "bytes": account.bytes,
            "macs": account.macs,
            "verdict": str(self.verdict),
            "statistics_bytes": self.count.statistics_bytes,
            "front_end_bytes": self.count.front_end_bytes,
            "quantiser_bytes": self.count.quantiser_bytes,
            "peak_activation_bytes": self.peak_activation_bytes,
            "parity": asdict(self.parity),
            "choice": self.choice and asdict(self.choice),
            "accuracy": self.accuracy and asdict(self.accuracy),
        }


@dataclass(frozen=True)
class Files:
    """Writes a run's students as files of one format."""

    trained: Trained
    """The finished run."""
    format: ExportFormat
    """The format of all files."""
    tell: Callable[[str], None]
    """Called with a line of text before what takes long."""

    @property
    def folder(self) -> Path:
        """The folder of these files in the run, which `exports` makes."""
        return self.trained.run / "exports" / str(self.format)

    @property
    def _runtime(self) -> type[RuntimeFile]:
        return self.format.target.file()

    def exports(self, students: Sequence[str]) -> Iterator[Export]:
        """Export one student after the other, and yield each when its file is kept; nothing is done before the first.

        `students` are names, as `Trained.students` gives them. Raises `ExportError` for a student that the target
        cannot compute, that is over the limits, or whose file costs or computes something else, and `StageError` for a
        name that the run does not have, and where fine-tuning lacks something.
        """
        inputs = self.trained.parity_inputs(waveform=self.format.waveform)
        for name in students:
            yield self._kept(name, self.trained.student(name), inputs)

    def write_card(self) -> Path:
        """Write README.md, the model card of all files in the folder; returns its path.

        Raises `ExportError` for a damaged JSON beside a file, and `IndexError` for a folder without exports.
        """
        shape = FACTS_OF_INT8 if self.format.dtype == "int8" else FACTS
        facts = [_facts(file, shape) for file in self.folder.glob("*.json")]
        facts.sort(key=lambda each: (each["student"] != BASE, each["student"]))
        exported = Exported(self.trained.base, "float32", waveform=self.format.waveform)
        usage = self._runtime.usage.format(
            student=facts[0]["student"],
            input=exported.input_name,
            shape=(1, *exported.input_shape),
            inputs="one second of samples in [-1, 1]"
            if self.format.waveform
            else "as the front end's settings make it",
        )
        text = card(
            self.trained,
            facts,
            title=str(self.format),
            format=self.format,
            library=self._runtime.library,
            usage=usage,
            adds_in_16_bits=self._runtime.adds_in_16_bits,
        )
        file = self.folder / "README.md"
        write_text(file, text)
        return file

    def _kept(self, name: str, student: Student, inputs: np.ndarray) -> Export:
        format, architecture = self.format, student.network.architecture
        verdict = self.trained.judge(architecture, format)
        if format.dtype == "int8":
            student, graph, choice, accuracy = self._in_int8(name, student)
        else:
            graph, choice, accuracy = self._graph(student), None, None
        theirs = self._logits(student, inputs)
        count = graph.count()
        compare(
            name, count.ledger, ledger(layers_of(architecture), convention=format.target.convention, dtype=format.dtype)
        )
        parity = Parity.between(graph.run(inputs), theirs)
        if format.dtype == "float32" and parity.equal_decisions < 1:
            raise ExportError(f"{name}: the exported graph decides otherwise than the student: {parity}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        file, most_alive = self.folder / f"{name}.{graph.suffix}", peak(steps_of(architecture)).bytes[format.dtype]
        export = Export(
            student=name,
            format=format,
            file=file,
            count=count,
            verdict=verdict,
            parity=parity,
            choice=choice,
            accuracy=accuracy,
            peak_activation_bytes=most_alive,
        )
        metadata = _metadata(student, count.ledger)
        with written_whole(export.file) as partial:
            graph.save(partial, metadata)
        write_text(file.with_suffix(".json"), json.dumps(export.facts() | metadata, indent=2) + "\n")
        return export

    def _graph(self, student: Student, network: nn.Module | None = None) -> RuntimeFile:
        network = self._runtime.prepared(student.network) if network is None else network
        return self._runtime(Exported(student, self.format.dtype, waveform=self.format.waveform, network=network))

    def _in_int8(self, name: str, student: Student) -> tuple[Student, RuntimeFile, Choice, Accuracy]:
        """Calibrate a student, and fine-tune it first where calibration alone costs too much and fine-tuning helps.

        Training clips decide. Returns the student that was quantised, its file, and the accuracies that decided, and
        those on test clips, which are told and decide nothing.
        """
        kept, graph, choice = self._chosen(name, student)
        tested = self.trained.tested(name, waveform=self.format.waveform)
        in_float = tested.accuracy(lambda inputs: self._logits(student, inputs))
        return kept, graph, choice, Accuracy(len(tested), in_float, tested.accuracy(graph.run))

    def _chosen(self, name: str, student: Student) -> tuple[Student, RuntimeFile, Choice]:
        clips = self.trained.trained_on(name, waveform=self.format.waveform)
        graph = self._calibrated(name, student)
        in_float = clips.accuracy(lambda inputs: self._logits(student, inputs))
        choice = Choice(len(clips), in_float, clips.accuracy(graph.run))
        if choice.lost <= TOLERATED:
            return student, graph, choice
        self.tell(f"{name}: calibration alone costs {choice.lost:.2%} of accuracy on training clips; fine-tuning ...")
        tuned = self.trained.fine_tuned(name)
        tuned_graph = self._calibrated(name, tuned)
        choice = replace(choice, fine_tuned=clips.accuracy(tuned_graph.run))
        return (tuned, tuned_graph, choice) if choice.keeps_fine_tuned else (student, graph, choice)

    def _calibrated(self, name: str, student: Student) -> RuntimeFile:
        network, clips = self._runtime.prepared(student.network), self.trained.calibration(name)
        return self._graph(student, quantised(network, clips, adds_in_16_bits=self._runtime.adds_in_16_bits))

    def _logits(self, student: Student, inputs: np.ndarray) -> np.ndarray:
        """Logits [clips, classes] of the student itself, in the dtype that it computes in here."""
        network = Exported(student, self.format.dtype, waveform=self.format.waveform)
        with torch.inference_mode():
            return torch.cat([network(part) for part in torch.from_numpy(inputs).split(PREDICTED_AT_ONCE)]).numpy()


FACTS = {
    "student": str, "parameters": int, "bytes": int, "macs": int, "verdict": str, "quantiser_bytes": int,
    "front_end_bytes": int, "peak_activation_bytes": int,
    "parity": {"clips": int, "largest_difference": float, "equal_decisions": float},
}  # fmt: skip
"""The shape of `Export.facts` that the card relies on, as `dynacp.strict_json.check_shape` takes it."""

FACTS_OF_INT8 = FACTS | {
    "choice": {"clips": int, "float32": float, "calibrated": float},
    "accuracy": {"clips": int, "float32": float, "int8": float},
}
"""The same for students in int8."""


def _facts(file: Path, shape: dict[str, Any]) -> dict[str, Any]:
    """The facts that stand beside an exported file. Raises `ExportError` where it is damaged, or another version's."""
    try:
        facts: dict[str, Any] = read_json(file)
        check_shape(facts, shape, "it")
        return facts
    except (OSError, JSONError) as error:
        raise ExportError(f"{file} is damaged ({error}): export its student again, or move it away.") from None


def _metadata(student: Student, account: Ledger) -> dict[str, object]:
    """What a program needs to know of a student: its classes, its input, its architecture and its cost."""
    return {
        "classes": list(student.classes),
        "sample_rate": student.front_end.settings.sample_rate,
        "front_end": asdict(student.front_end.settings),
        "architecture": student.network.architecture.to_json(),
        "ledger": ledger_hash(account),
    }


def compare(name: str, counted: Ledger, expected: Ledger) -> None:
    """Raise `ExportError` unless the layers of the file of student `name` cost what those of the ledger do, one by one.

    `counted` is the ledger of the file, `expected` that of the architecture, whose layers without parameters are left
    out.
    """
    rows = [row for row in expected.rows if row.parameters]
    for ours, theirs in zip(counted.rows, rows, strict=False):
        for what, found, wanted in zip(Row._fields[2:], ours[2:], theirs[2:], strict=True):
            if found != wanted:
                raise ExportError(
                    f"{name}: {ours.name} of the exported graph has {what} {found}, but {theirs.name} of the ledger "
                    f"{wanted}."
                )
    if len(counted.rows) != len(rows):
        raise ExportError(
            f"{name}: the exported graph has {len(counted.rows)} layers with parameters, but the ledger {len(rows)}."
        )
