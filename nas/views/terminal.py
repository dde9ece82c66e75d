"""What a search shows: at a terminal a live front and progress with time left, elsewhere a line per trial."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from budget.cli.terminal import console, show
from budget.ledger import ledger
from budget.memory import peak
from dynacp.overrides import settings_table
from dynacp.student.layers import layers_of, steps_of
from dynacp.teachers.ensemble import Ensemble, what_they_know
from nas.results.fidelity import as_text
from nas.results.finalists import NOTE_ON_THE_RACE, Finalist, what_it_would_take
from nas.scoring.clips import SearchData
from nas.scoring.score import SearchSettings
from nas.space.counting import share_that_fits
from nas.strategy.propose import Rules
from nas.strategy.race import Run
from nas.study.candidate import Candidate
from nas.study.database import without_password
from nas.study.posterior import how_ranked
from nas.study.racing import Racer
from nas.study.store import Store

SHARE_PROPOSALS = 20_000
"""Random encodings from which the share that fits is estimated at the start."""


class Screen:
    """Prints a search to standard output, through `console`: live at a terminal, else line by line."""

    def __init__(self) -> None:
        self.console = console()

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=not self.console.is_terminal)

    def introduce(self, store: Store, rules: Rules, data: SearchData, settings: SearchSettings) -> None:
        """Print what is to be done: the settings, the clips, the space, the network to beat, and what the teachers
        start from.
        """
        show(self.console, settings_table(settings, SearchSettings(), f"Settings of {store.folder.name}"))
        for name, table in data.tables.items():
            self._clips(name, table)
        space, limits, dtype = rules.space, rules.limits, rules.dtype
        fits = share_that_fits(space, limits, dtype, proposals=SHARE_PROPOSALS, rng=np.random.default_rng(0))
        share = sum(fit for fit, _ in fits.values()) / SHARE_PROPOSALS
        self.note(
            f"Space: {space.size():.2g} networks of {space.min_blocks} to {space.max_blocks} blocks; about {share:.0%} "
            f"of random choices fit {limits} in {dtype} "
            f"({', '.join(f'{blocks} blocks {fit / max(drawn, 1):.0%}' for blocks, (fit, drawn) in fits.items())})."
        )
        baseline = store.settings.baseline
        account = ledger(layers_of(baseline.architecture), dtype=dtype)
        verdict = limits.verdict(account, peak(steps_of(baseline.architecture)))
        self.note(f"To beat: {baseline.name}, {account.macs / 1e6:.2f} MMACs, {verdict}.")
        if not settings.distillation.needs_teachers:
            self.note("No teachers: candidates learn from labels alone.")
            return
        for sentence in settings.teachers.described():
            self.note(sentence)

    def _clips(self, name: str, table: pd.DataFrame) -> None:
        view = Table(title=f"{name} clips", title_justify="left", box=None)
        view.add_column("class")
        for device in table.columns:
            view.add_column(str(device), justify="right")
        for label, row in table.iterrows():
            view.add_row(str(label), *(str(count) for count in row))
        show(self.console, view)

    @contextmanager
    def teaching(self) -> Iterator[Callable[[str, int, int], None]]:
        """Show the progress of the teachers while the block runs.

        The block gets a function of (a teacher's name, the step now done, the steps in all), over all teachers.
        """
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
        """Print the validation macro accuracy, in %, of each teacher and of all together, and what they have seen."""
        each = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in ensemble.accuracies.items())
        self.note(f"Teachers on validation: {each}; all together {ensemble.accuracy:.1%}.")
        self.note(what_they_know(ensemble.seen, ensemble.unseen))

    @contextmanager
    def searching(self, store: Store, total: int) -> Iterator[Callable[[], None]]:
        """Show the front, and progress to `total` candidates, while the block runs.

        The block gets a function without arguments that prints what `store` holds more than at its last call.
        """
        progress = self._progress("candidates")
        task = progress.add_task("searching", total=total, completed=_ended(store))
        known = {each.number for each in store.candidates}
        with Live(console=self.console, get_renderable=lambda: Group(_front(store), progress), transient=True):

            def progressed() -> None:
                refused = {name: sum(each[name] for each in store.candidates) for name in ("rejected", "duplicates")}
                progress.update(
                    task,
                    completed=_ended(store),
                    description=", ".join(f"{name} {number:,}" for name, number in refused.items()),
                )
                for each in store.candidates:
                    if each.number not in known:
                        known.add(each.number)
                        cost = f"{_cost(each)} {each.samples:6,} samples"
                        self.note(f"{each.name:>8}  {each.accuracy:6.1%} {cost}  {each['layout']}")

            yield progressed

    @contextmanager
    def racing(self, racer: Racer) -> Iterator[Callable[[Candidate, Run, float], None]]:
        """Show how far the race has come, by all workers, while the block runs.

        The block gets a function that prints a finished training: (candidate, how it was trained, accuracy in [0, 1]).
        """
        if racer.missing():
            field = " to ".join(f"{each.entrants}" for each in (racer.rounds[0], racer.rounds[-1]))
            self.note(
                f"The race: at most {len(racer.rounds)} round{'s' * (len(racer.rounds) > 1)}, from {field} "
                f"architectures beside {racer.store.settings.baseline.name}, with "
                f"{racer.rounds[0].runs[0].samples:,} to {racer.rounds[-1].runs[0].samples:,} samples a training, "
                f"{racer.cost:,} in all."
            )
        with self._progress("samples") as progress:
            task = progress.add_task("the race", total=racer.cost, completed=racer.spent)

            def progressed(candidate: Candidate, run: Run, accuracy: float) -> None:
                progress.update(task, completed=racer.spent)
                self.note(f"{candidate.name:>8}  {accuracy:6.1%} {_cost(candidate)} {run.samples:6,} samples  race")

            yield progressed

    def conclude(
        self, store: Store, entries: Sequence[Finalist], pictures: Sequence[Path], storage: str | None
    ) -> None:
        """Print the finalists of the race with what it proves of them, where everything is, and what to do next.

        `entries` are the finalists, empty for none; `pictures` the files drawn; `storage` the study's URL, printed
        without its password, or None for the default.
        """
        view = Table(title="The race's last round: trained in full, with new seeds", title_justify="left")
        for name in (
            "candidate",
            "MMACs",
            "kB",
            "search score",
            "mean ± sd",
            f"against {store.settings.baseline.name} (95 %)",
            "claim",
        ):
            view.add_column(name, justify="left" if name in ("candidate", "claim") else "right")
        for entry in entries:
            view.add_row(
                entry.candidate.name,
                f"{entry.candidate.macs / 1e6:.2f}",
                f"{entry.candidate.bytes / 1e3:.1f}",
                f"{entry.candidate.accuracy:.1%}",
                f"{entry.mean:.1%} ± {entry.deviation * 100:.1f} ({len(entry.accuracies)})",
                entry.in_points,
                entry.verdict,
            )
        show(self.console, view)
        self.note(how_ranked(store.finished()))
        self.note(NOTE_ON_THE_RACE)
        if more := what_it_would_take(store, entries):
            self.note(more)
        results = store.results()
        self.note(
            f"Trained {len(results)} in {results['seconds'].sum() / 60:.1f} min; rejected "
            f"{results['rejected'].sum():,} and {results['duplicates'].sum():,} duplicates in "
            f"{results['proposing_seconds'].sum():.1f} s of proposing."
        )
        self.note(f"Results: {store.folder / 'results.csv'}, {', '.join(map(str, pictures))}")
        which = ["--study", store.folder.name, *(["--storage", without_password(storage)] if storage else [])]
        commands = (shlex.join(["python", "-m", f"nas.{name}", *which]) for name in ("report", "export"))
        self.note(f"Next: {'; '.join(commands)}")

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


def fidelity_table(table: pd.DataFrame) -> Table:
    """A table for the terminal of what `nas.results.fidelity.agreement` gives."""
    view = Table(title="Short trainings against full ones", title_justify="left")
    for name in ("statistic", "candidates", "tau (95 %)", "reliability", "tau without noise"):
        view.add_column(name, justify="left" if name == "statistic" else "right")
    for row in table.to_dict("records"):
        view.add_row(*as_text(row).values())
    return view


def _ended(store: Store) -> int:
    return sum(each.finished for each in store.candidates)


def _front(store: Store) -> Table:
    """A table of the present front and the baseline, by MACs."""
    view = Table(title="Front so far, as expected from all trainings together", title_justify="left")
    expected = store.expected()
    for name in ("candidate", "MMACs", "expected", "architecture"):
        view.add_column(name, justify="left" if name == "architecture" else "right", no_wrap=name != "architecture")
    shown = {each.number: each for each in (store.baseline, *store.front()) if each}.values()
    for each in sorted(shown, key=lambda each: each.macs):
        style = None if each.number else "bold"
        accuracy = f"{expected[each.number].accuracy:.1%}" if each.number in expected else ""
        view.add_row(each.name, f"{each.macs / 1e6:.2f}", accuracy, each["layout"], style=style)
    return view


def _cost(candidate: Candidate) -> str:
    return f"{candidate.macs / 1e6:6.2f} MMACs {candidate.bytes / 1e3:6.1f} kB"
