"""What a search shows: at a terminal a live front and progress with time left, elsewhere a line per trial."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from optuna.trial import FrozenTrial
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from budget.limits import Limits
from dynacp.teachers import FAMILIES, Ensemble, TeacherSettings
from nas.counting import share_that_fits
from nas.material import Material
from nas.pareto import Rescored
from nas.space import Space
from nas.store import Store, architecture_of

SHARE_PROPOSALS = 20_000
"""Random encodings from which the share that fits is estimated at the start."""


class Screen:
    """Writes to standard output, errors to standard error."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=not self.console.is_terminal)

    def error(self, text: str) -> None:
        Console(stderr=True, highlight=False).print(f"error: {text}", markup=False, style="red", soft_wrap=True)

    def introduce(
        self, options: argparse.Namespace, space: Space, limits: Limits, material: Material, teachers: TeacherSettings
    ) -> None:
        """The question, the data and the space, before anything is trained."""
        for name, table in material.tables.items():
            self._clips(name, table)
        fits = share_that_fits(space, limits, options.dtype, proposals=SHARE_PROPOSALS, rng=np.random.default_rng(0))
        share = sum(fit for fit, _ in fits.values()) / SHARE_PROPOSALS
        self.note(
            f"Space: {space.size():.2g} networks of {space.min_blocks} to {space.max_blocks} blocks; about {share:.0%} "
            f"of random choices fit {limits.max_macs / 1e6:g} MMACs and {limits.max_bytes:,} bytes in {options.dtype} "
            f"({', '.join(f'{blocks} blocks {fit / max(drawn, 1):.0%}' for blocks, (fit, drawn) in fits.items())})."
        )
        for family in FAMILIES:
            self.note(f"Teachers {family}: four, {teachers.start(family)}.")

    def _clips(self, name: str, table: pd.DataFrame) -> None:
        view = Table(title=f"{name} clips", title_justify="left", box=None)
        view.add_column("class")
        for device in table.columns:
            view.add_column(str(device), justify="right")
        for label, row in table.iterrows():
            view.add_row(str(label), *(str(count) for count in row))
        self.console.print(view)

    @contextmanager
    def teaching(self) -> Iterator[Callable[[str, int, int], None]]:
        with self._progress("batches") as progress:
            task = progress.add_task("teachers", total=None)
            begun = set[str]()

            def stepped(name: str, step: int, steps: int) -> None:
                progress.update(task, description=f"teacher {name}", completed=step, total=steps)
                if name not in begun and not self.console.is_terminal:  # a log has no bar to read this from
                    self.note(f"teacher {name}: batch {step} of {steps} in all")
                begun.add(name)

            yield stepped

    def teachers(self, ensemble: Ensemble) -> None:
        """How well each teacher does on the validation split."""
        each = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in ensemble.accuracies.items())
        self.note(f"Teachers on validation: {each}; all eight {ensemble.accuracy:.1%}.")

    @contextmanager
    def searching(self, store: Store, total: int) -> Iterator[Callable[[FrozenTrial], None]]:
        progress = self._progress("trials")
        task = progress.add_task("searching", total=total, completed=len(store.trials))
        with Live(console=self.console, get_renderable=lambda: Group(_front(store), progress), transient=True):

            def progressed(trial: FrozenTrial) -> None:
                rejected, duplicates = (
                    sum(t.user_attrs[name] for t in store.trials) for name in ("rejected", "duplicates")
                )
                progress.update(
                    task,
                    completed=len(store.trials),
                    description=f"trained {len(store.trials)}, rejected {rejected:,}, duplicates {duplicates:,}",
                )
                self.note(f"{_named(trial):>8}  {_point(trial)}  {architecture_of(trial)}")

            yield progressed

    @contextmanager
    def rescoring(self, total: int) -> Iterator[Callable[[FrozenTrial, float], None]]:
        with self._progress("trainings") as progress:
            task = progress.add_task("front and Table 1 with fresh seeds", total=total)

            def progressed(trial: FrozenTrial, accuracy: float) -> None:
                progress.advance(task)
                self.note(f"{_named(trial):>8}  {accuracy:6.1%} with a fresh seed")

            yield progressed

    def conclude(self, store: Store, entries: Sequence[Rescored], pictures: Sequence[Path]) -> None:
        """The front with its fresh scores, and where everything is."""
        proposing = sum(trial.user_attrs["proposing_seconds"] for trial in store.trials)
        training = sum(trial.user_attrs["seconds"] for trial in store.trials)
        view = Table(title="Layouts trained again with fresh seeds", title_justify="left")
        for name in ("layout", "MMACs", "kB", "search score", "fresh mean ± sd", "against Table 1 (95 %)", "verdict"):
            view.add_column(name, justify="left" if name in ("layout", "verdict") else "right")
        for entry in entries:
            interval = (
                ""
                if np.isnan(entry.low)
                else f"{_points(entry.difference)} [{_points(entry.low)}, {_points(entry.high)}]"
            )
            view.add_row(
                _named(entry.trial),
                f"{entry.trial.values[1] / 1e6:.2f}",
                f"{entry.trial.user_attrs['bytes'] / 1e3:.1f}",
                f"{entry.trial.values[0]:.1%}",
                f"{entry.mean:.1%} ± {entry.deviation * 100:.1f} ({len(entry.accuracies)})",
                interval,
                entry.verdict,
            )
        self.console.print(view)
        self.note(
            "The search score is the best of many noisy ones and flatters; a fresh mean does not, though the best of "
            "them does a little. The interval compares seed by seed and covers the noise between training seeds, for "
            "all layouts at once, not the choice of validation clips."
        )
        counts = {name: sum(t.user_attrs[name] for t in store.trials) for name in ("rejected", "duplicates")}
        self.note(
            f"Trained {len(store.trials)} in {training / 60:.1f} min; rejected {counts['rejected']:,} and "
            f"{counts['duplicates']:,} duplicates in {proposing:.1f} s of proposing."
        )
        self.note(f"Results: {store.folder / 'results.csv'}, {', '.join(map(str, pictures))}")
        self.note(
            f"Next: python -m nas.plot --study {store.folder.name}; python -m nas.export --study {store.folder.name}"
        )

    def _progress(self, unit: str) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )


def _front(store: Store) -> Table:
    """The present front beside Table 1, by MACs."""
    view = Table(title="Front so far (validation, one seed each: noisy)", title_justify="left")
    for name in ("trial", "MMACs", "accuracy", "layout"):
        view.add_column(name, justify="left" if name == "layout" else "right", no_wrap=name != "layout")
    shown = {trial.number: trial for trial in [*store.front(), *store.trials[:1]]}
    for trial in sorted(shown.values(), key=lambda trial: trial.values[1]):
        style = "bold" if trial.number == 0 else None
        macs, accuracy = f"{trial.values[1] / 1e6:.2f}", f"{trial.values[0]:.1%}"
        view.add_row(_named(trial), macs, accuracy, str(architecture_of(trial)), style=style)
    return view


def _named(trial: FrozenTrial) -> str:
    return "Table 1" if trial.number == 0 else f"#{trial.number}"


def _point(trial: FrozenTrial) -> str:
    return f"{trial.values[0]:6.1%} {trial.values[1] / 1e6:6.2f} MMACs {trial.user_attrs['bytes'] / 1e3:6.1f} kB"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
