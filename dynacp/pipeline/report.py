"""What a run reached: the paper's tables 2 and 3 for this run, the budget of each model, and two pictures."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns

from budget.ledger import Ledger, ledger
from budget.limits import Verdict
from budget.memory import peak
from dynacp.audio.dataset import GENERAL
from dynacp.audio.recording_devices import OVERALL, REAL
from dynacp.efficientat import Family
from dynacp.files import write_text
from dynacp.pictures import new_figure, save_figure
from dynacp.pipeline import paper_figures
from dynacp.pipeline.evaluation import SPECIFIC, SYSTEMS, tested_students, tested_teachers
from dynacp.pipeline.intervals import RESAMPLES, Bootstrap, confusion, summary
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import computed_in
from dynacp.student.layers import layers_of, steps_of
from dynacp.teachers.ensemble import known, what_they_know

STUDENT = "student"
"""The name of the students among the models of a system; the others are ensembles."""


def ensembles_of(families: Iterable[Family]) -> dict[str, tuple[str, ...]]:
    """Title -> names of the families of the ensembles in the paper's Table 2: each family by itself, and all together.

    A single family is both at once.
    """
    each = {family.title: (family.name,) for family in sorted(families, key=lambda family: family.name)}
    return {**each, " + ".join(each): tuple(name for names in each.values() for name in names)}


def figures_of(draws: Mapping[tuple[str, str], pd.DataFrame], classes: tuple[str, ...]) -> pd.DataFrame:
    """The accuracies of each system and model, with their 95 % bootstrap intervals, in [0, 1]: a row for each measure.

    The columns are system, model, measure, value (on the test split itself), and low and high, the ends of the
    interval. `draws` are those of `Bootstrap.accuracies`, by (system, model); their columns are the measures. Where
    `classes`, the names of the classes, are TAU's, the column `report` holds the paper's figures, in [0, 1] too; system
    and model must then be a key of its `TABLE2`.
    """
    frames = []
    for (system, model), of_system in draws.items():
        frame = summary(of_system).reset_index()
        frame.insert(0, "model", model)
        frame.insert(0, "system", system)
        frames.append(frame)
    figures = pd.concat(frames, ignore_index=True)
    if classes == paper_figures.TAU_CLASSES:
        figures["report"] = [paper_figures.figure(*key) for key in figures[["system", "model", "measure"]].to_numpy()]
    return figures


def cells(figures: pd.DataFrame, system: str, model: str, measures: Iterable[str]) -> dict[str, str]:
    """Measure -> text such as "59.00 [57.1, 60.9]", in %, with the paper's figure in parentheses where there is one.

    `figures` are what `figures_of` gives. Raises `KeyError` for a system, a model or a measure that is not among them.
    """
    rows = figures[(figures["system"] == system) & (figures["model"] == model)].set_index("measure")
    return {measure: _cell(rows.T[measure]) for measure in measures}


class Report:
    """All figures of a finished run. Raises `StageError` for a run whose evaluation is not finished.

    `logits` [test clips, classes] and `draws` (those of `bootstrap`, a `Bootstrap`) are by (system, model). `clips` are
    the test clips, `folder` is the run's, `shared_places` the number of locations that are in both splits, and
    `ensembles` are those of `ensembles_of`.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.folder = pipeline, pipeline.plan.run
        self.clips = pipeline.dataset.test
        training = pipeline.dataset.training
        trained = {training.device_names[number] for number in training.devices}
        self.shared_places = len(set(training.groups) & set(self.clips.groups))
        self.bootstrap = Bootstrap(self.clips, tuple(sorted(trained)), recording=pipeline.settings.recording)
        teachers = pipeline.store.load(tested_teachers(pipeline))
        students = pipeline.store.load(tested_students(pipeline))
        self.ensembles = ensembles_of(pipeline.settings.teachers.families)
        self.logits = {
            (system, model): sum(teachers[family][system] for family in families)
            for system in SYSTEMS
            for model, families in self.ensembles.items()
        } | {(system, STUDENT): students[system] for system in SYSTEMS}
        self.draws = {key: self.bootstrap.accuracies(logits) for key, logits in self.logits.items()}

    def gain(self) -> "pd.Series[float]":
        """What device students gain over the base student in accuracy, with the ends of its 95 % bootstrap interval.

        Named value, low and high, as differences of shares: 0.01 is a point, and a negative one a loss.
        """
        return summary(self.draws[(SPECIFIC, STUDENT)] - self.draws[(GENERAL, STUDENT)]).T[OVERALL]

    @cached_property
    def figures(self) -> pd.DataFrame:
        """All figures of the run, as `figures_of` gives them."""
        return figures_of(self.draws, self.clips.classes)

    def headline(self) -> str:
        """The accuracies of the base and the device students, and their difference, in a sentence."""
        of_base, of_devices = (cells(self.figures, system, STUDENT, [OVERALL])[OVERALL] for system in SYSTEMS)
        return (
            f"Test split, mean over classes in %: base student {of_base}, device students {of_devices}; "
            f"difference {_points(self.gain())} points."
        )

    def budget(self) -> tuple[Ledger, Verdict]:
        """The ledger of a student, and the verdict on it: all students have one architecture."""
        settings, architecture = self.pipeline.settings, self.pipeline.architecture
        account = ledger(layers_of(architecture), dtype=settings.dtype)
        return account, settings.limits.verdict(account, peak(steps_of(architecture)))

    def models(self) -> tuple[str, ...]:
        """The names of the run's students, the base first."""
        return ("base", *self.pipeline.dataset.devices)

    def write(self) -> list[Path]:
        """Write report.md, figures.csv, table2.csv, table3.csv, budget.csv, confusion.png and devices.png.

        They replace those of an earlier evaluation in the run's folder. Returns their paths.
        """
        account, verdict = self.budget()
        budget = pd.DataFrame(
            {
                "model": self.models(),
                "dtype": account.dtype,
                "parameters": account.parameters,
                "bytes": account.bytes,
                "macs": account.macs,
                "verdict": str(verdict),
            }
        )
        table2, table3 = self._table2(), self._table3()
        texts = {
            "report.md": self._markdown(table2, table3, budget),
            "figures.csv": self.figures.to_csv(index=False),
            "table2.csv": table2.to_csv(index=False),
            "table3.csv": table3.to_csv(index=False),
            "budget.csv": budget.to_csv(index=False),
        }
        for name, text in texts.items():
            write_text(self.folder / name, text)
        return [*(self.folder / name for name in texts), self._draw_confusion(), self._draw_devices()]

    def _table2(self) -> pd.DataFrame:
        """Accuracies of teachers and students on real, seen and unseen devices, and in all."""
        measures = [*self.bootstrap.groups, OVERALL]
        rows = [
            {
                "system": system,
                "model": _student_name(system) if model == STUDENT else model,
                **cells(self.figures, system, model, measures),
            }
            for system in SYSTEMS
            for model in (*self.ensembles, STUDENT)
        ]
        return pd.DataFrame(rows)

    def _table3(self) -> pd.DataFrame:
        """Accuracy of the students by class and by device."""
        measures = [*self.bootstrap.tested_classes, *self.bootstrap.tested_devices]
        columns = {_student_name(system): cells(self.figures, system, STUDENT, measures) for system in SYSTEMS}
        return pd.DataFrame(columns).rename_axis("class or device").reset_index()

    def _markdown(self, table2: pd.DataFrame, table3: pd.DataFrame, budget: pd.DataFrame) -> str:
        clips, gain = self.clips, self.gain()
        places = len(np.unique(clips.groups))
        beside = " In parentheses: the DynaCP paper's figures." if clips.classes == paper_figures.TAU_CLASSES else ""
        return "\n\n".join(
            [
                f"# {self.folder.name}",
                f"Architecture: `{self.pipeline.architecture}`",
                f"Accuracies on the test split in %: {len(clips):,} clips from {places} locations; `accuracy` is the "
                f"mean over classes. In brackets 95 % intervals from {RESAMPLES:,} draws of locations (the fewest of a "
                f"class: {self.bootstrap.fewest_places}): they cover the choice of test locations, not the noise "
                "between training seeds. "
                + (f"{self.shared_places} locations are in the training split as well. " if self.shared_places else "")
                + f"Students were evaluated in {computed_in(budget['dtype'].iloc[0])}. Each training's last state was "
                "taken; the test split steered nothing." + beside,
                self._devices(),
                "## Teachers and students (the paper's Table 2)",
                table2.to_markdown(index=False),
                self._knowledge(),
                f"Device students against the base: {_points(gain)} points of accuracy.",
                "## Students by class and device (the paper's Table 3)",
                table3.to_markdown(index=False),
                "## Budget",
                budget.map(lambda cell: f"{cell:,}" if isinstance(cell, int) else cell).to_markdown(index=False),
                "![Confusion of the device-specific students](confusion.png)",
                "![Accuracy by device](devices.png)",
                "",
            ]
        )

    def _knowledge(self) -> str:
        """What general teachers know of training clips that they were fine-tuned on, and of those they left out."""
        pipeline = self.pipeline
        stored = [pipeline.store.load(pipeline.teacher(GENERAL, member)) for member in pipeline.members]
        labels = pipeline.dataset.training.labels
        seen, unseen = (known(stored, labels, seen=each) for each in (True, False))
        return f"Of the training clips: {what_they_know(seen, unseen)}"

    def _devices(self) -> str:
        """Which devices are in which group of the tables, and that none is real, where it is so."""
        groups, real = self.bootstrap.groups, self.pipeline.settings.recording.real
        listed = "; ".join(f"{name}: {', '.join(devices)}" for name, devices in groups.items())
        missing = f" No device that was trained on and tested is real: `recording.real` is {real}."
        return f"Groups of devices: {listed}." + ("" if REAL in groups else missing)

    def _draw_confusion(self) -> Path:
        shares = confusion(self.logits[(SPECIFIC, STUDENT)], self.clips.labels) * 100
        names = [name.replace("_", " ") for name in self.clips.classes]
        figure = new_figure(7.6, 6.4)
        axes = figure.subplots()
        sns.heatmap(
            pd.DataFrame(shares, index=names, columns=names), ax=axes, annot=True, fmt=".0f", cmap="Blues", vmin=0,
            vmax=100, square=True, cbar=False, linewidths=0.5, annot_kws={"fontsize": 9},
        )  # fmt: skip
        axes.set(xlabel="taken for", ylabel="scene")
        axes.set_title("Device-specific students: % of each scene's clips", loc="left", weight="bold")
        return save_figure(figure, self.folder / "confusion.png")

    def _draw_devices(self) -> Path:
        wanted = self.figures[self.figures["measure"].isin(self.bootstrap.tested_devices)]
        label = wanted["model"] + ", " + wanted["system"]
        grid = (wanted.assign(label=label).pivot(index="label", columns="measure", values="value") * 100).loc[
            list(dict.fromkeys(label)), list(self.bootstrap.tested_devices)
        ]
        figure = new_figure(1.6 + 0.85 * len(grid.columns), 4.2)
        axes = figure.subplots()
        sns.heatmap(
            grid, ax=axes, annot=True, fmt=".1f", cmap="viridis", linewidths=0.5, annot_kws={"fontsize": 9},
            cbar_kws={"label": "accuracy, %"},
        )  # fmt: skip
        axes.set(xlabel="recording device", ylabel="")
        axes.set_title("Accuracy by device", loc="left", weight="bold")
        return save_figure(figure, self.folder / "devices.png")


def _cell(row: pd.Series) -> str:
    text = f"{row['value'] * 100:.2f} [{row['low'] * 100:.1f}, {row['high'] * 100:.1f}]"
    return text + (f" ({row['report'] * 100:.2f})" if pd.notna(row.get("report")) else "")


def _points(row: pd.Series) -> str:
    return f"{row['value'] * 100:+.2f} [{row['low'] * 100:+.1f}, {row['high'] * 100:+.1f}]"


def _student_name(system: str) -> str:
    return {GENERAL: "General", SPECIFIC: "Device-specific"}[system]
