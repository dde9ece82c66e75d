"""Search for DynaCP architectures that fit the limits: accuracy after a short distillation, against MACs.

    python -m nas.search                                     the built-in set, 200 candidates
    python -m nas.search --data TAU --mn mn10_as_mAP_471.pt  real data, real teachers
    python -m nas.search --workers 4                         four trainings at a time
    python -m nas.search --baseline my-network.json          the network to beat is this one, not Table 1

Teachers are fine-tuned once and their logits cached. Each trial distils a new candidate that fits; the baseline,
Table 1 of the DynaCP paper or another, goes first. At the end comes a race: promising candidates and the baseline are
trained longer, half of them dropped each time, and the finalists in full, several times, which decides what is claimed
of them. The same command resumes, also after ^C. Started while the search runs, here or with the same --storage on
another machine, it helps.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import optuna
import torch

from budget.cli.command import answering, limits_of, run
from dynacp.commands.options import cache_errors, data_root, training_device
from dynacp.settings import require
from dynacp.student.architecture import TABLE1, with_classes
from dynacp.teachers.ensemble import Ensemble, chance_warning
from dynacp.teachers.views import told_beforehand
from nas.results.finalists import decided, finalists, weak_teachers
from nas.scoring.clips import FRONT_END, SearchData, load_search_data
from nas.scoring.score import Scorer
from nas.search_options import parser, settings_of
from nas.space.network_wide import varied
from nas.space.space import Space
from nas.strategy.baseline import Baseline
from nas.strategy.propose import Rules
from nas.strategy.race import Round, rounds
from nas.strategy.samplers import SAMPLERS
from nas.study.database import without_password
from nas.study.local_workers import helpers
from nas.study.settings import StudyError, StudySettings
from nas.study.storage import Storage
from nas.study.store import Store, clear_errors, connect, default_storage, study_folder
from nas.study.worker import SearchPlan, Worker
from nas.views.figures import draw_pareto
from nas.views.terminal import Screen

REDRAW_EVERY = 4
"""Passes with something newly scored from one drawing of the front to the next, while the search runs."""

VERSIONED = ("torch", "torchaudio", "optuna", "numpy", "scikit-learn")
"""The libraries whose versions are noted in the study."""


@answering("Stopped. Finished trials are kept; the same command resumes.")
def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's; `answering` makes it return an exit status."""
    options = parser(__doc__).parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with training_errors(options):
        Search(options, Screen()).run(sys.argv[1:] if arguments is None else arguments)


@contextmanager
def training_errors(options: argparse.Namespace) -> Iterator[None]:
    """A context in which what fails while candidates are trained becomes a `UserError`: storage, cache, GPU memory.

    `options` are a search's, as `nas.search_options.parser` gives them. Other errors pass.
    """
    try:
        with clear_errors(options.study), cache_errors(options.cache):
            yield
    except torch.OutOfMemoryError as error:
        raise StudyError(
            f"the GPU's memory ran out ({error}); what is finished is kept. Free some, or take fewer --workers."
        ) from None


class Search:
    """A search from data to result; it tells what it does on `screen`.

    `options` are as `nas.search_options.parser` gives them, `limits` those of a candidate, `settings` all numbers.
    `baseline` is the network to beat, None for the one that the options name. `ensemble` is what the teachers say, None
    before they were asked. Raises `UserError` for options that cannot be used, such as a bad `--set`.
    """

    def __init__(self, options: argparse.Namespace, screen: Screen, baseline: Baseline | None = None) -> None:
        self.options, self.screen = options, screen
        self.limits = limits_of(options)
        self.baseline = baseline or Baseline.given(options.baseline, FRONT_END)
        self.ensemble: Ensemble | None = None
        require(0 <= options.margin <= 100, "--margin", options.margin, "from 0 to 100 points")
        self.settings = settings_of(options)

    def run(self, arguments: Sequence[str]) -> None:
        """Run the search to its end, this worker's part and, with `--workers`, that of further ones on this machine.

        `arguments` are those of the command line, which further workers are started with. Raises `UserError` for what
        a user can mend, `OSError`, and what `nas.study.store.clear_errors` takes.
        """
        options, screen = self.options, self.screen
        store, storage, data, rules = self.opened(arguments)
        screen.introduce(store, rules, data, self.settings)
        plan = SearchPlan(
            rules=rules,
            baseline=store.settings.baseline.architecture,
            sampler=SAMPLERS[options.sampler],
            samples=self.settings.recipe.samples,
            trials=options.trials,
            race=self._race(data),
            decided=decided,
            seed=options.seed,
        )
        worker = Worker(plan, store, storage, screen.note)
        if worker.has_work:
            scorer = self.scorer(store, data)
            torch.set_num_threads(self.threads)  # the teachers had all
            with helpers("nas.search", options.workers - 1, arguments, store.folder, screen.note):
                self._work(worker, scorer)
        store.read()
        store.write_tables()
        entries = finalists(store)
        screen.conclude(store, entries, draw_pareto(store), options.storage)
        if self.ensemble and (warning := weak_teachers(entries, self.ensemble.unseen.accuracy)):
            screen.note(warning)

    def opened(self, arguments: Sequence[str]) -> tuple[Store, Storage, SearchData, Rules]:
        """Open the study, new or to be resumed; returns it, its database, the clips, and what a candidate must be.

        `arguments` are those of the command line, kept with a new study. Raises `UserError` for data, settings or a
        study that cannot be used.
        """
        options, folder = self.options, study_folder(self.options.study)
        data = self.data(training_device(options.device))
        self.settings.teachers.check(len(data.classes))
        space = Space(with_classes(TABLE1, len(data.classes)), network_wide=varied(options))
        rules = Rules(space, self.limits, options.dtype)
        folder.mkdir(parents=True, exist_ok=True)
        storage = connect(options.study, options.storage or default_storage(options.study))
        store = Store.create_or_resume(options.study, storage, self._settings(data, rules, arguments))
        return store, storage, data, rules

    @property
    def threads(self) -> int:
        """The number of CPU threads of one worker."""
        return max(1, torch.get_num_threads() // self.options.workers)

    def _race(self, data: SearchData) -> tuple[Round, ...]:
        """The rounds of the race; none with `--race 0`. Raises `UserError` for a race that is too short."""
        full, recipe = self.settings.full_epochs * len(data.training), self.settings.recipe
        if not self.options.race:
            return ()
        return rounds(
            short=recipe.samples,
            full=full,
            budget=self.options.race * full,
            ways=len(data.held_out),
            seed=self.options.seed,
        )

    def scorer(self, store: Store, data: SearchData) -> Scorer:
        """What trains and scores candidates of this study; fine-tunes the teachers first where that is not done.

        Notes these teachers in the study. A loss of labels alone needs none. Raises as `teachers_of` does.
        """
        if not self.settings.distillation.needs_teachers:
            return Scorer.on_labels(data, self.settings.score)
        self.ensemble = ensemble = self.teachers_of(data)
        if others := store.note_teachers(ensemble.fingerprint):
            self.screen.note(
                f"These teachers ({ensemble.fingerprint}) are not those of other workers ({', '.join(others)}): "
                "fine-tuned apart, they teach a little differently, and scores mix. Share one --cache."
            )
        return Scorer.from_ensemble(data, ensemble, self.settings.score)

    def _work(self, worker: Worker, scorer: Scorer) -> None:
        store, screen, options = worker.store, self.screen, self.options
        with screen.searching(store, options.trials) as progressed:
            for count, _ in enumerate(worker.search(scorer), start=1):
                progressed()
                store.write_tables()
                if count % REDRAW_EVERY == 0:
                    draw_pareto(store)
        if worker.exhausted:
            screen.note(f"The search ends after {len(store.candidates)} candidates: {worker.exhausted}.")
        with screen.racing(worker.racer) as retrained:
            for training in worker.racer.race(scorer):
                store.write_tables()
                retrained(*training)

    def data(self, device: torch.device) -> SearchData:
        """The clips that the options name, for trainings on `device`; raises `DataError` for those that are no use."""
        options = self.options
        root = data_root(options, self.screen.note)
        return load_search_data(root, seed=options.seed, cache=options.cache, device=device)

    def _shown(self, argument: str) -> str:
        """An argument as it may be kept with the study: a URL without its password."""
        url = self.options.storage
        return argument.replace(url, without_password(url)) if url else argument

    def _settings(self, data: SearchData, rules: Rules, arguments: Sequence[str]) -> StudySettings:
        options = self.options
        return StudySettings.of(
            data=data.key,
            device=data.device.type,
            seed=options.seed,
            sampler=options.sampler,
            rules=rules,
            teachers=self.settings.teachers.identity(),
            score=self.settings.score,
            front_end=data.front_end,
            command=shlex.join(["python", "-m", "nas.search", *map(self._shown, arguments)]),
            classes=data.classes,
            clips={"training": len(data.training), "validation": len(data.validation)},
            threads=self.threads,
            versions={name: version(name) for name in VERSIONED},
            margin=options.margin / 100,
            baseline=self.baseline,
        )

    def teachers_of(self, data: SearchData) -> Ensemble:
        """The teachers' logits and accuracies; fine-tunes those that are not cached yet.

        Raises as `SearchData.ensemble` does.
        """
        folder, seed = self.options.cache / "teachers", self.options.seed
        if views := self.settings.score.views:
            self.screen.note(told_beforehand(views[0], data.view_bytes(self.settings.teachers, views)))
        with self.screen.teaching() as on_step:
            ensemble = data.ensemble(
                self.settings.teachers,
                seed=seed,
                folder=folder,
                on_step=on_step,
                views=views,
            )
        self.screen.teachers(ensemble)
        accuracies = {**ensemble.accuracies, "all together": ensemble.accuracy}
        if warning := chance_warning(accuracies, data.validation_labels, "the validation clips"):
            self.screen.note(warning)
        return ensemble


if __name__ == "__main__":
    sys.exit(run(main))
