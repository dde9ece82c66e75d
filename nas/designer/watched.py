"""A study that the page looks into while its search may go on. It is read alone, and only when it has changed."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from budget.ledger import totals
from dynacp.student.architecture import Architecture
from dynacp.student.layers import layers_of
from nas.editing.judged import Terms
from nas.results.finalists import Finalist, finalists
from nas.study.posterior import Forecast
from nas.study.settings import StudyError
from nas.study.store import Store, clear_errors, study_folder

PATIENCE = 3.0
"""Seconds between two looks at a study in a database of which no file tells that it has changed."""


class Watched:
    """A stored study. Its methods may be called from several threads, and raise `StudyError` for one that is damaged or
    gone.
    """

    def __init__(self, name: str, storage: str | None) -> None:
        """`storage` is the study's URL, None for the SQLite file in its folder."""
        self.name, self._storage = name, storage
        self._lock = threading.RLock()
        self._seen: object = None
        self._opened: int | None = None
        self._store: Store | None = None
        self._finalists: list[Finalist] | None = None
        self.state = 0
        """Counts the changes that were seen."""

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """The study as it is now, which no other thread changes while the block runs."""
        with self._lock, clear_errors(self.name):
            file, changed = self._file(), self._changed()
            if file != self._opened:  # another file has taken its place
                self._store = None
            if changed != self._seen or self._store is None:
                self._read()
                self._seen, self._opened, self.state = changed, file, self.state + 1
            assert self._store is not None
            yield self._store

    def _read(self) -> None:
        store, self._store, self._finalists = self._store, None, None  # after a fault it is opened anew
        if store is None:
            store = Store.open(self.name, self._storage)
        else:
            store.read()
        self._store = store

    def forecast(self, architecture: Architecture) -> Forecast | None:
        """What the study's model says of a network; None while too few candidates are trained for a model, and for a
        network that is not `comparable`.
        """
        with self.reading() as store:
            model = store.posterior() if self.comparable(architecture) else None
            return model.forecast(architecture) if model else None

    def comparable(self, architecture: Architecture) -> bool:
        """Whether the study's networks have this one's input, classes and family, which its model does not see."""
        with self.reading() as store:
            known = store.candidates[0].architecture
        return all(getattr(architecture, name) == getattr(known, name) for name in ("input", "classes", "family"))

    @property
    def terms(self) -> Terms:
        """What the study judges its networks by."""
        with self.reading() as store:
            return Terms(store.settings.limits, store.settings.dtype)

    def macs(self, architecture: Architecture) -> int:
        """MACs of a network as the study counts them."""
        with self.reading() as store:
            return int(totals(layers_of(architecture), dtype=store.settings.dtype).macs)

    def finalists(self) -> list[Finalist]:
        """The finalists of its race, as `nas.results.finalists.finalists` gives them; cached: do not change it."""
        with self.reading() as store:
            if self._finalists is None:
                self._finalists = finalists(store)
            return self._finalists

    def _changed(self) -> object:
        """Differs from what it was where the study may have changed."""
        if self._storage:
            return int(time.monotonic() / PATIENCE)
        file = study_folder(self.name) / "study.db"
        return [stat and (stat.st_mtime_ns, stat.st_size) for stat in map(_stat, (file, Path(f"{file}-wal")))]

    def _file(self) -> int | None:
        """What tells the study's file from another of its name; None in a database. Raises `StudyError` for none."""
        file = study_folder(self.name) / "study.db"
        if self._storage:
            return None
        stat = _stat(file)
        if stat is None and self._opened is not None:
            raise StudyError(f"study {self.name!r} is no longer in {file.parent}.")
        return stat and stat.st_ino


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
