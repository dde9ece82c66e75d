"""Where a search is kept: an Optuna study with the candidates, one with the trainings of the race, and tables of both.

Whatever is finished is stored at once, so a search that is stopped at any moment resumes where it was.
"""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from budget.cli.command import Add
from budget.errors import UserError
from dynacp.files import write_text
from nas.space.counting import activation_bytes
from nas.strategy.pareto import front
from nas.strategy.propose import DIRECTIONS
from nas.study.candidate import STATISTICS, Candidate
from nas.study.database import cause, check_database, open_storage, patiently, reading_much, without_password
from nas.study.further import LIVING, FurtherTrainings
from nas.study.posterior import Expected, Posterior, expected
from nas.study.settings import StudyError, StudySettings
from nas.study.storage import Storage

STUDIES = Path("studies")
"""The folder that holds a folder for each study, relative to the working directory."""


@contextmanager
def clear_errors(name: str) -> Iterator[None]:
    """Turn what Optuna and SQLAlchemy raise in the block, of a damaged or lost storage, into a `StudyError`."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StudyError(f"the storage of study {name!r} failed: {cause(error)}. Trials in it are kept.") from None


def study_folder(name: str) -> Path:
    """`studies/<name>`; raises `StudyError` for a name that is no plain folder name."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise StudyError(f"`--study` must be a folder name of letters, digits, '.', '_' and '-', but got {name!r}.")
    return STUDIES / name


def default_storage(name: str) -> str:
    """The URL of the SQLite file that a study is kept in by default. Raises `StudyError` as `study_folder` does."""
    return f"sqlite:///{study_folder(name) / 'study.db'}"


def add_study_options(add: Add) -> None:
    """Add the options `--study` and `--storage`, which `opened_study` reads; `add` is `add_argument` of a parser."""
    add("--study", default="search", metavar="NAME", help="under studies/ (default: %(default)s)")
    add("--storage", metavar="URL", help="where it is kept, if not in SQLite in studies/NAME")


@contextmanager
def opened_study(options: argparse.Namespace) -> Iterator["Store"]:
    """Open the stored search that these options (see `add_study_options`) name, to be read while the block runs.

    Raises `StudyError` as `Store.open` and `clear_errors` do.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with clear_errors(options.study):
        yield Store.open(options.study, options.storage)


class Store:
    """A search as it is stored: its settings, its candidates, and their further trainings.

    `candidates` are those with a score, by number; `race` holds the trainings of the race, and `fidelity` those of
    `nas.fidelity`, None where it never ran. All are as of the last `read`; `fidelity` is as of `open`. `folder` holds
    the tables. Made by `open` or `create_or_resume`; raises `StudyError` as `read` does.
    """

    def __init__(self, study: optuna.Study, racing_study: optuna.Study, folder: Path) -> None:
        self.study, self.folder = study, folder
        self.settings = StudySettings(study.user_attrs["settings"])
        self.race = FurtherTrainings(racing_study, self.settings.samples)
        self.fidelity: FurtherTrainings | None = None
        self._ended, self._expected = dict[int, Candidate](), dict[int, Expected]()
        self._posterior: Posterior | None = None
        self.read()

    @classmethod
    def open(cls, name: str, storage: str | None = None) -> "Store":
        """Open a stored study to read it; `storage` is its URL, by default that of the SQLite file in its folder.

        Raises `StudyError` for a study that does not exist, is damaged, or has no trained candidate yet.
        """
        folder = study_folder(name)
        if storage is None and not (folder / "study.db").exists():
            known = sorted(path.parent.name for path in STUDIES.glob("*/study.db"))
            raise StudyError(
                f"no study {name!r} in {STUDIES}/ (there: {', '.join(known) or 'none'}); "
                f"`python -m nas.search --study {name}` makes one."
            )
        url = storage or default_storage(name)
        with _usable(name, storage):
            check_database(url, may_be_new=False)
            held = Storage(url)
            study = _loaded(name, held)
            _refuse_foreign(study)
            _refuse_damaged(study)
            store = cls(study, _loaded(f"{name}{_RACE}", held), folder)
            store.fidelity = _fidelity(store, held)
        if not store.candidates:
            raise StudyError(f"study {name!r} has no trained candidate yet; let the search train one first.")
        folder.mkdir(parents=True, exist_ok=True)
        return store

    @classmethod
    def create_or_resume(cls, name: str, storage: Storage, settings: StudySettings) -> "Store":
        """Make a study with these settings, or open the one of this name if its settings are the same.

        Raises `StudyError` that names what differs, and for a name or a storage that cannot be used; `OSError`.
        """
        folder = study_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        with _usable(name, None if storage.url == default_storage(name) else storage.url):
            study = _made(name, storage)
            if study.user_attrs or study.trials or tuple(study.directions) != DIRECTIONS:
                _refuse_foreign(study)
                StudySettings(study.user_attrs["settings"]).refuse_other(name, settings)
            else:
                study.set_user_attr("settings", settings.content)
                study.set_metric_names(["validation macro accuracy", "MACs"])
            return cls(study, _made(f"{name}{_RACE}", storage), folder)

    @patiently
    @reading_much()
    def read(self) -> None:
        """Read `candidates` and `race` anew from the storage. Raises `StudyError` for damaged ones."""
        retrained = self.race.trials()  # first: then each is of a candidate known below
        living = [self.candidate(trial) for trial in self.study.get_trials(deepcopy=False, states=LIVING)]
        self.candidates = sorted((each for each in living if each.scored), key=lambda each: each.number)
        self._finished = [each for each in self.candidates if each.finished and each.fits]
        self.race.take(retrained, {each.number for each in self.candidates})

    def candidate(self, trial: FrozenTrial) -> Candidate:
        """The candidate of a trial of this study; always the same object once it has ended, to parse it once.

        Raises `StudyError` for a trial that does not hold what a search keeps.
        """
        if trial.number in self._ended:
            return self._ended[trial.number]
        candidate = Candidate(trial, self.settings.baseline.name)
        try:
            candidate.check(name for name, values in self.settings.network_wide.items() if len(values) > 1)
        except ValueError as error:
            raise StudyError(f"study {self.study.study_name!r} is damaged: {error}.") from None
        if trial.state.is_finished():
            self._ended[trial.number] = candidate
        return candidate

    @patiently
    def note_teachers(self, fingerprint: str) -> list[str]:
        """Note the fingerprint of this worker's teachers; returns those of any other teachers in this study.

        `fingerprint` is as `Ensemble.fingerprint` gives it.
        """
        self.study.set_user_attr(f"{_TEACHERS}{fingerprint}", True)
        return [other for other in self.teachers() if other != fingerprint]

    def teachers(self) -> list[str]:
        """Fingerprints of the teachers of all workers: one, unless they were fine-tuned apart."""
        return sorted(name.removeprefix(_TEACHERS) for name in self.study.user_attrs if name.startswith(_TEACHERS))

    @patiently
    def note_entrants(self, candidates: int, numbers: list[int]) -> list[int]:
        """Note which candidates, by number, enter the race of a search of so many, unless another worker has done so.

        Returns those that are noted then.
        """
        if self.entrants(candidates) is None:
            self.study.set_user_attr(f"{_ENTRANTS}{candidates}", numbers)
        return self.entrants(candidates) or []

    def entrants(self, candidates: int) -> list[int] | None:
        """Numbers of the candidates that entered the race of a search of so many; None where none has begun."""
        return self.study.user_attrs.get(f"{_ENTRANTS}{candidates}")

    def entered(self) -> set[int]:
        """Numbers of the candidates that entered any race of this search: a search that goes on races again."""
        noted = self.study.user_attrs
        return {number for name in noted if name.startswith(_ENTRANTS) for number in noted[name]}

    @property
    def baseline(self) -> Candidate | None:
        """The candidate that is the network to beat, or None while it has no score: others may get theirs before."""
        return next((each for each in self.candidates[:1] if each.number == 0), None)

    def finished(self) -> list[Candidate]:
        """Candidates that fit the limits and have ended, by number; cached: do not change the list."""
        return self._finished

    def expected(self) -> dict[int, Expected]:
        """Number -> what the candidates that `finished` gives would score without noise; cached: do not change it."""
        finished = self.finished()
        if self._expected.keys() != {each.number for each in finished}:
            self._posterior = Posterior.of(finished)
            self._expected = expected(finished, self._posterior)
        return self._expected

    def posterior(self) -> Posterior | None:
        """The model behind `expected`; None while too few candidates have finished for one."""
        self.expected()
        return self._posterior

    def front(self) -> list[Candidate]:
        """The Pareto front of the candidates that `finished` gives, in expected merit and MACs; in order of MACs."""
        finished, merits = self.finished(), self.expected()
        return [finished[index] for index in front([(merits[each.number].merit, each.macs) for each in finished])]

    def results(self) -> pd.DataFrame:
        """A row per candidate, as in results.csv: its cost, score, architecture, and the proposals that it took.

        `macs` are for one clip, `bytes` and `activation_bytes` (their peak) at the inference dtype. `samples` is the
        length of its training, which `seed`, `accuracy` (in [0, 1]), `seconds` and the losses are of, those of
        `nas.scoring.score.Score`, in nats. `expected` is its accuracy without noise, NaN unless
        `finished` gives it; `front` whether it is on the expected front. `layout` and `key` name the architecture;
        `rejected` and `duplicates` count the proposals refused before it, which with its own took `proposing_seconds`.
        """
        on_front, of, rows = {each.number for each in self.front()}, self.expected(), []
        peaks = activation_bytes([each.architecture for each in self.candidates], dtype=self.settings.dtype)
        for each, peak in zip(self.candidates, peaks, strict=True):
            rows.append(
                {
                    "candidate": each.number,
                    "accuracy": each.accuracy,
                    "samples": each.samples,
                    "macs": each.macs,
                    "parameters": each["parameters"],
                    "bytes": each.bytes,
                    "activation_bytes": peak,
                    "front": each.number in on_front,
                    "expected": of[each.number].accuracy if each.number in of else np.nan,
                    "layout": str(each.architecture),
                    **{name: each.training.get(name, np.nan) for name in ("seed", "loss", *STATISTICS)},
                    "seconds": round(each.training["seconds"], 3),
                    **{name: each[name] for name in ("rejected", "duplicates", "proposing_seconds")},
                    "key": each.architecture.key,
                }
            )
        return pd.DataFrame(rows)

    def write_tables(self) -> None:
        """Write results.csv, race.csv and settings.json into `folder`, as of the last `read`. Raises `OSError`."""
        with self.publishing():
            write_text(self.folder / "results.csv", self.results().to_csv(index=False))
            write_text(self.folder / "race.csv", self.race.table().to_csv(index=False))
            write_text(self.folder / "settings.json", json.dumps(self.settings.content, indent=2) + "\n")

    def publishing(self) -> FileLock:
        """The lock to hold (`with`) while writing files into the study's folder.

        Workers that share the folder so write one at a time; entering it waits.
        """
        return FileLock(self.folder / "publishing.lock")


_TEACHERS, _ENTRANTS = "teachers ", "entrants of "
_RACE, _FIDELITY = ": fresh seeds", ": fidelity"  # what the names of a search's other studies end in


def _fidelity(store: Store, storage: Storage) -> FurtherTrainings | None:
    """What `nas.fidelity` has trained of a search; None where it was never started."""
    try:
        study = optuna.load_study(study_name=f"{store.study.study_name}{_FIDELITY}", storage=storage)
    except KeyError:
        return None
    done = FurtherTrainings(study, store.settings.samples)
    done.take(done.trials(), {each.number for each in store.candidates})
    return done


def fidelity_study(store: Store, storage: Storage) -> FurtherTrainings:
    """The trainings of a search's candidates by `nas.fidelity`, in a study of their own, which is made if need be.

    `done` is empty until `take` is called.
    """
    return FurtherTrainings(_made(f"{store.study.study_name}{_FIDELITY}", storage), store.settings.samples)


def connect(name: str, url: str) -> Storage:
    """Open the database at `url` for workers of the study `name`. Raises `StudyError` for one that cannot be used."""
    with _usable(name, url):
        check_database(url, may_be_new=True)
        return open_storage(url)


@contextmanager
def _usable(name: str, storage: str | None) -> Iterator[None]:
    try:
        yield
    except StudyError:
        raise
    except Exception as error:  # a damaged database can fail in any way that its readers know
        where = f"the storage {without_password(storage)}" if storage else f"its storage in {study_folder(name)}"
        raise StudyError(f"study {name!r}: {where} cannot be used ({cause(error)})") from None


def _made(name: str, storage: Storage) -> optuna.Study:
    return optuna.create_study(study_name=name, storage=storage, directions=DIRECTIONS, load_if_exists=True)


def _loaded(name: str, storage: Storage) -> optuna.Study:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise StudyError(f"the storage {without_password(storage.url)} holds no study {name!r}.") from None


def _refuse_foreign(study: optuna.Study) -> None:
    settings = study.user_attrs.get("settings")
    identity = settings.get("identity") if isinstance(settings, dict) else None
    if not isinstance(identity, dict) or tuple(study.directions) != DIRECTIONS:
        raise StudyError(
            f"study {study.study_name!r} was not made by `python -m nas.search`; take another --study or --storage."
        )
    rungs = identity.get("rungs")
    if isinstance(rungs, list) and len(rungs) > 1:
        raise StudyError(
            f"study {study.study_name!r} was made by a version that stopped trainings early (its `--rungs` trained "
            f"with {', '.join(map(str, rungs))} samples), which this one does not read; take another --study."
        )


def _refuse_damaged(study: optuna.Study) -> None:
    try:
        StudySettings.read(study.user_attrs["settings"])
    except UserError as error:
        raise StudyError(f"study {study.study_name!r} is damaged, or another version's: {error}.") from None
