"""Search for DynaCP layouts that fit the limits: accuracy after a short distillation, against MACs.

    python -m nas.search                                     the built-in set, 200 candidates
    python -m nas.search --data TAU --mn mn10_as_mAP_471.pt  real data, real teachers
    python -m nas.search --workers 4                         four trainings at a time
    python -m nas.search --samples 8192 --rungs 3            those that look hopeless after 2,048 or 4,096 stop there

Eight teachers are fine-tuned once and their logits cached. Each trial distils a new candidate that fits and scores it
on the validation split; Table 1 of the DynaCP report goes first. At the end the front and Table 1 are trained again
with fresh seeds, and those scores are the result. The same command again resumes, also after ^C; started while it runs,
here or with the same --storage on another machine, it helps.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import torch

from budget.command import EXIT_STATUS, run
from budget.dtypes import DEFAULT_DTYPE, DTYPES
from budget.limits import Limits
from dynacp.audio.scenes import write_scenes
from dynacp.audio.tau import DataError
from dynacp.cache_option import add_cache_option, cache_errors
from dynacp.devices import training_device
from dynacp.student.architecture import TABLE1, with_classes
from dynacp.teachers.ensemble import Ensemble, chance_warning
from nas.scoring.clips import Material, load_material
from nas.scoring.score import SAMPLES, TEACHERS, Scorer, ScoreSettings
from nas.space.space import Space
from nas.strategy.propose import Rules
from nas.strategy.rungs import rungs
from nas.strategy.samplers import SAMPLERS
from nas.study.database import without_password
from nas.study.local_workers import helpers
from nas.study.rescoring import rescored
from nas.study.store import Store, StudyError, clear_errors, connect, default_storage, study_folder
from nas.study.worker import Plan, Worker
from nas.views.figures import draw_pareto
from nas.views.terminal import Screen

BUILT_IN = "built-in"
REDRAW_EVERY = 4
"""Trainings between two drawings of the front while the search runs."""

VERSIONED = ("torch", "torchaudio", "optuna", "numpy", "scikit-learn")


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as it is written, and every default but "none"."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def parser() -> argparse.ArgumentParser:
    form = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m nas.search", description=__doc__, epilog=EXIT_STATUS, formatter_class=Help
    )
    _add_study(form.add_argument_group("the study"))
    _add_trial(form.add_argument_group("a trial and its limits"))
    _add_teachers(form.add_argument_group("the teachers"))
    return form


def _add_study(group: argparse._ArgumentGroup) -> None:
    add, one = group.add_argument, _whole(1)
    add("--data", default=BUILT_IN, metavar="PATH", help="a data set in TAU's layout")
    add("--study", default="search", metavar="NAME", help="kept under studies/NAME")
    add("--storage", metavar="URL", help="a database for many machines, in place of SQLite in studies/NAME")
    add("--trials", type=one, default=200, metavar="N", help="candidates in all, Table 1 among them")
    add("--workers", type=one, default=1, metavar="N", help="processes on this machine, which share its cores")
    add("--sampler", choices=sorted(SAMPLERS), default="tpe", help="what proposes; gp takes seconds a candidate")
    add("--seed", type=_whole(0, 2**32 - 1), default=0, metavar="N", help="of everything random")
    add("--rescore-seeds", type=_whole(3), default=3, metavar="N", help="fresh trainings of the front's layouts")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="to train on")
    add_cache_option(group, "log-mels and teachers")


def _add_trial(group: argparse._ArgumentGroup) -> None:
    add, one, limits = group.add_argument, _whole(1), Limits()
    add("--samples", type=_whole(32), default=SAMPLES, metavar="N", help="training samples of one trial")
    add("--rungs", type=_whole(1, 8), default=1, metavar="N", help="train on half, a quarter ... first")
    add("--max-macs", type=one, default=limits.max_macs, metavar="N", help="for one second of audio")
    add("--max-bytes", type=one, default=limits.max_bytes, metavar="N", help="of parameters")
    add("--dtype", choices=sorted(DTYPES), default=DEFAULT_DTYPE, help="of parameters at inference")


def _add_teachers(group: argparse._ArgumentGroup) -> None:
    add, default = group.add_argument, TEACHERS
    add("--mn", type=Path, metavar="FILE", help="an EfficientAT MN checkpoint; without, MN starts from random weights")
    add("--dymn", type=Path, metavar="FILE", help="the same for DyMN; without, it starts from MN's, if there is one")
    add("--mn-width", type=float, default=default.mn_width, metavar="W", help="of an MN without checkpoint")
    add("--dymn-width", type=float, default=default.dymn_width, metavar="W", help="of a DyMN without any")
    add("--teacher-epochs", type=_whole(1), default=default.epochs, metavar="N", help="of fine-tuning")


def _whole(lowest: int, highest: int = sys.maxsize) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, but got {value}")
        if value > highest:
            raise argparse.ArgumentTypeError(f"must be at most {highest}, but got {value}")
        return value

    number.__name__ = "whole number"
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 2 bad input, 130 stopped by ^C."""
    options = parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    screen = Screen()
    try:
        with clear_errors(options.study), cache_errors(options.cache):
            Search(options, screen).run(sys.argv[1:] if arguments is None else arguments)
    except (DataError, StudyError, OSError) as error:
        screen.error(error)
        return 2
    except torch.OutOfMemoryError as error:
        screen.error(
            f"the GPU's memory ran out ({error}); what is finished is kept. Free some, or take fewer --workers."
        )
        return 2
    except KeyboardInterrupt:
        screen.note("Stopped. Finished trials are kept; the same command goes on from there.")
        return 130
    return 0


class Search:
    """The search that the options describe, from data to result."""

    def __init__(self, options: argparse.Namespace, screen: Screen) -> None:
        self.options, self.screen = options, screen
        self.limits = Limits(options.max_bytes, options.max_macs)
        settings = ScoreSettings()
        self.score_settings = replace(settings, recipe=replace(settings.recipe, samples=options.samples))
        try:
            self.rungs = rungs(options.samples, options.rungs, least=settings.recipe.batch)
        except ValueError as error:
            raise StudyError(f"`--rungs`: {error}") from None
        self.teachers = replace(
            TEACHERS,
            mn=options.mn,
            dymn=options.dymn,
            mn_width=options.mn_width,
            dymn_width=options.dymn_width,
            epochs=options.teacher_epochs,
        )

    def run(self, arguments: Sequence[str]) -> None:
        """The whole of it; `arguments` are those of the command line, for workers that help."""
        options, screen = self.options, self.screen
        folder = study_folder(options.study)
        try:
            material = self.material(training_device(options.device))
            self.teachers.check(len(material.classes))
        except ValueError as error:
            raise StudyError(str(error)) from None
        frame = with_classes(TABLE1, len(material.classes))
        rules = Rules(Space(frame), self.limits, options.dtype)
        folder.mkdir(parents=True, exist_ok=True)
        storage = connect(options.study, options.storage or default_storage(options.study))
        store = Store.create_or_resume(options.study, storage, self._settings(material, rules.space, arguments))
        screen.introduce(options, rules.space, self.limits, material, self.teachers)
        sampler = SAMPLERS[options.sampler]
        plan = Plan(rules, frame, sampler, self.rungs, options.trials, options.rescore_seeds, options.seed)
        worker = Worker(plan, store, storage, screen.note)
        if worker.has_work:
            scorer = self._scorer(store, material)
            torch.set_num_threads(self._threads)  # the teachers had all
            with helpers(options.workers - 1, arguments, folder, screen.note):
                self._work(worker, scorer)
        store.read()
        store.write_tables()
        screen.conclude(store, rescored(store), draw_pareto(store), options.storage)

    @property
    def _threads(self) -> int:
        """Of one worker."""
        return max(1, torch.get_num_threads() // self.options.workers)

    def _scorer(self, store: Store, material: Material) -> Scorer:
        ensemble = self.teachers_of(material)
        if others := store.note_teachers(ensemble.fingerprint):
            self.screen.note(
                f"These teachers ({ensemble.fingerprint}) are not those of other workers ({', '.join(others)}): "
                "fine-tuned apart, they teach a little differently, and scores mix. Share one --cache."
            )
        return Scorer.from_ensemble(material, ensemble, self.score_settings)

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
        with screen.rescoring(worker.missing) as retrained:
            for candidate, accuracy in worker.train_again(scorer):
                store.write_tables()
                retrained(candidate, accuracy)

    def material(self, device: torch.device) -> Material:
        """The clips that the options name; raises `DataError`."""
        options = self.options
        if options.data == BUILT_IN:
            self.screen.note("Built-in scenes: writing them, if they are not there yet ...")
            root = write_scenes(options.cache / "scenes")
        else:
            root = Path(options.data)
        return load_material(root, seed=options.seed, cache=options.cache, device=device)

    def _shown(self, argument: str) -> str:
        """As it may be kept with the study."""
        url = self.options.storage
        return argument.replace(url, without_password(url)) if url else argument

    def _settings(self, material: Material, space: Space, arguments: Sequence[str]) -> dict[str, Any]:
        options = self.options
        described = {**asdict(space), "classes": len(material.classes), "stem": space.frame.stem}
        return {
            "identity": {
                "data": material.key,
                "device": material.training.device.type,
                "seed": options.seed,
                "sampler": options.sampler,
                "dtype": options.dtype,
                "limits": asdict(self.limits),
                "rungs": self.rungs,
                "teachers": self.teachers.identity(),
                "score": asdict(self.score_settings),
                "space": {name: value for name, value in described.items() if name != "frame"},
                "front_end": asdict(material.front_end),
            },
            "command": shlex.join(["python", "-m", "nas.search", *map(self._shown, arguments)]),
            "classes": material.classes,
            "clips": {"training": len(material.training), "validation": len(material.validation)},
            "threads": self._threads,
            "versions": {name: version(name) for name in VERSIONED},
        }

    def teachers_of(self, material: Material) -> Ensemble:
        """The teachers, fine-tuned where they are not cached yet."""
        with self.screen.teaching() as on_step:
            ensemble = material.ensemble(
                self.teachers, seed=self.options.seed, folder=self.options.cache, on_step=on_step
            )
        self.screen.teachers(ensemble)
        accuracies = {**ensemble.accuracies, "all eight": ensemble.accuracy}
        if warning := chance_warning(accuracies, material.validation_labels, "the validation clips"):
            self.screen.note(warning)
        return ensemble


if __name__ == "__main__":
    sys.exit(run(main))
