"""A queue of trials that train nothing, as several workers see it."""

from dataclasses import dataclass

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.study.database import open_storage
from nas.study.queue import Queue

UNIQUE = ("key", "mark")
"""The user attributes of which a queue holds each value once."""


@dataclass
class Opened:
    """A queue, and how to open it once more as another process would."""

    url: str
    storage: RDBStorage
    queue: Queue

    @classmethod
    def new(cls, url: str) -> "Opened":
        """An empty queue in the database of this URL."""
        storage = open_storage(url)
        study = optuna.create_study(study_name="work", storage=storage, directions=["maximize", "minimize"])
        return cls(url, storage, Queue(study, storage, UNIQUE))

    def reopened(self) -> Queue:
        storage = open_storage(self.url)
        return Queue(optuna.load_study(study_name="work", storage=storage), storage, UNIQUE)


def waiting(key: int, mark: str = "") -> FrozenTrial:
    """A trial to be offered."""
    return create_trial(state=TrialState.WAITING, user_attrs={"key": key, "mark": mark or f"mark {key}"})
