"""Where a search is kept: an Optuna study with the trained trials, and tables beside it written from that study.

Only finished trainings are stored, each in one piece, so a search that is stopped at any moment resumes where it was.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy.exc import SQLAlchemyError

from dynacp.architecture import Architecture
from dynacp.files import written_whole
from nas.propose import DIRECTIONS, Proposal
from nas.score import Score
from nas.space import Space

STUDIES = Path("studies")
_RESCORE = "rescore"


class StudyError(ValueError):
    """A study that cannot be read, or not be resumed with these settings."""


@contextmanager
def clear_errors(name: str) -> Iterator[None]:
    """Raises `StudyError` for what Optuna and SQLAlchemy raise of a storage that is damaged, or goes away."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        source = error.__cause__ or error  # Optuna speaks of invalid data whatever went wrong
        cause = (str(source).splitlines() or [type(source).__name__])[0].rstrip(". ")
        raise StudyError(f"the storage of study {name!r} failed: {cause}. Trials that it holds are kept.") from None


def study_folder(name: str) -> Path:
    """`studies/<name>`; raises `StudyError` for a name that is no plain folder name."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise StudyError(f"`--study` must be a folder name of letters, digits, '.', '_' and '-', but got {name!r}.")
    return STUDIES / name


def default_storage(name: str) -> str:
    return f"sqlite:///{study_folder(name) / 'study.db'}"


class Store:
    """One study: its trials in the order of training, their re-scorings, and its settings."""

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        self.study, self.folder = study, folder
        self.trials: list[FrozenTrial] = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))

    @classmethod
    def open(cls, name: str, storage: str | None = None) -> "Store":
        """A study that exists. Raises `StudyError` that says which do."""
        folder = study_folder(name)
        if storage is None and not (folder / "study.db").exists():
            known = sorted(path.parent.name for path in STUDIES.glob("*/study.db"))
            raise StudyError(
                f"no study {name!r} in {STUDIES}/ (there: {', '.join(known) or 'none'}); "
                f"`python -m nas.search --study {name}` makes one."
            )
        study = _load(name, storage or default_storage(name), create=False)
        _refuse_foreign(study)
        folder.mkdir(parents=True, exist_ok=True)
        return cls(study, folder)

    @classmethod
    def create_or_resume(cls, name: str, storage: str | None, settings: dict[str, Any]) -> "Store":
        """A new study, or one made with the same settings. Raises `StudyError` that names what differs."""
        folder = study_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        study = _load(name, storage or default_storage(name), create=True)
        if study.user_attrs or study.trials or tuple(study.directions) != DIRECTIONS:
            _refuse_foreign(study)
            _refuse_other(name, study.user_attrs["settings"], json.loads(json.dumps(settings)))
        else:
            study.set_user_attr("settings", settings)
        return cls(study, folder)

    @property
    def settings(self) -> dict[str, Any]:
        return self.study.user_attrs["settings"]

    @property
    def told(self) -> list[dict[str, Any]]:
        """Rejections that the sampler was told of."""
        return [choices for trial in self.trials for choices in trial.user_attrs["told"]]

    def architectures(self) -> dict[Architecture, FrozenTrial]:
        return {architecture_of(trial): trial for trial in self.trials}

    def front(self) -> list[FrozenTrial]:
        """Trials that fit and that no other beats in both accuracy and MACs, by MACs."""
        best: list[FrozenTrial] = []
        fitting = [trial for trial in self.trials if all(value <= 0 for value in trial.constraints.values())]
        for trial in sorted(fitting, key=lambda trial: (trial.values[1], -trial.values[0])):
            if not best or trial.values[0] > best[-1].values[0]:
                best.append(trial)
        return best

    def add(
        self,
        space: Space,
        proposal: Proposal,
        score: Score,
        cost: dict[str, int],
        violations: dict[str, float],
        seed: int,
    ) -> FrozenTrial:
        """Keep a finished training."""
        trial = create_trial(
            values=(score.accuracy, cost["macs"]),
            params=proposal.choices,
            distributions=space.distributions(),
            constraints=violations,
            system_attrs=proposal.system_attrs,
            user_attrs={
                "architecture": proposal.architecture.to_json(),
                **cost,
                "seed": seed,
                "loss": score.loss,
                "seconds": round(score.seconds, 3),
                "rejected": proposal.rejected,
                "duplicates": proposal.duplicates,
                "proposing_seconds": round(proposal.seconds, 3),
                "told": proposal.told,
            },
        )
        self.study.add_trial(trial)
        self.trials = self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        return self.trials[-1]

    def rescored(self, trial: FrozenTrial) -> dict[int, float]:
        """Fresh seed -> validation macro accuracy, for one trial's layout."""
        prefix = f"{_RESCORE}:{trial.number}:"
        attributes = self.study.user_attrs
        return {int(name.removeprefix(prefix)): value for name, value in attributes.items() if name.startswith(prefix)}

    def add_rescore(self, trial: FrozenTrial, seed: int, accuracy: float) -> None:
        self.study.set_user_attr(f"{_RESCORE}:{trial.number}:{seed}", accuracy)

    def results(self) -> pd.DataFrame:
        """A row per trained trial: its cost, score, layout, and the proposals that it took."""
        front = {trial.number for trial in self.front()}
        rows = []
        for trial in self.trials:
            attributes, architecture = trial.user_attrs, architecture_of(trial)
            rows.append(
                {
                    "trial": trial.number,
                    "accuracy": trial.values[0],
                    **{name: attributes[name] for name in ("macs", "parameters", "bytes")},
                    "front": trial.number in front,
                    "layout": str(architecture),
                    **{name: attributes[name] for name in ("seed", "loss", "seconds")},
                    **{name: attributes[name] for name in ("rejected", "duplicates", "proposing_seconds")},
                    "key": architecture.key,
                }
            )
        return pd.DataFrame(rows)

    def rescores(self) -> pd.DataFrame:
        """A row per fresh training of a layout: trial, seed, validation macro accuracy."""
        rows = [
            {"trial": trial.number, "seed": seed, "accuracy": accuracy}
            for trial in self.trials
            for seed, accuracy in sorted(self.rescored(trial).items())
        ]
        return pd.DataFrame(rows, columns=["trial", "seed", "accuracy"])

    def write_tables(self) -> None:
        """results.csv, rescored.csv and settings.json in the study's folder, from the study."""
        write_text(self.folder / "results.csv", self.results().to_csv(index=False))
        write_text(self.folder / "rescored.csv", self.rescores().to_csv(index=False))
        write_text(self.folder / "settings.json", json.dumps(self.settings, indent=2) + "\n")


def architecture_of(trial: FrozenTrial) -> Architecture:
    return Architecture.from_json(trial.user_attrs["architecture"])


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _load(name: str, storage: str, *, create: bool) -> optuna.Study:
    try:
        if create:
            return optuna.create_study(study_name=name, storage=storage, directions=DIRECTIONS, load_if_exists=True)
        return optuna.load_study(study_name=name, storage=storage)
    except (KeyError, ValueError, ImportError, SQLAlchemyError, StorageInternalError) as error:
        raise StudyError(f"study {name!r}: the storage {storage} cannot be used ({error})") from None


def _refuse_foreign(study: optuna.Study) -> None:
    if "identity" not in study.user_attrs.get("settings", {}) or tuple(study.directions) != DIRECTIONS:
        raise StudyError(
            f"study {study.study_name!r} was not made by `python -m nas.search`; take another --study or --storage."
        )


def _refuse_other(name: str, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Compare all but the versions, which are only recorded."""
    differences = [
        f"{path}: {old!r} in the study, {new!r} now"
        for path, old, new in _differences(stored["identity"], wanted["identity"])
    ]
    if differences:
        raise StudyError(
            f"study {name!r} was made with other settings and would mix what cannot be compared:\n  "
            + "\n  ".join(differences)
            + "\nTake the study's settings, or another --study name."
        )


def _differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(set(old) | set(new))
        return [d for name in names for d in _differences(old.get(name), new.get(name), f"{path}.{name}".lstrip("."))]
    return [] if old == new else [(path, old, new)]
