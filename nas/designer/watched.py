"""A study that the page looks into while its search may go on. It is read alone, and only when it has changed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynacp.student.architecture import Architecture
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
        self._store: Store | None = None
        self.state = 0
        """Counts the changes that were seen."""

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """The study as it is now, which no other thread changes while the block runs."""
        with self._lock, clear_errors(self.name):
            changed = self._changed()
            if changed != self._seen or self._store is None:
                self._read()
                self._seen, self.state = changed, self.state + 1
            assert self._store is not None
            yield self._store

    def _read(self) -> None:
        store, self._store = self._store, None  # after a fault it is opened anew
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

    def finalists(self) -> list[Finalist]:
        """The finalists of its race, as `nas.results.finalists.finalists` gives them."""
        with self.reading() as store:
            return finalists(store)

    def _changed(self) -> object:
        """Differs from what it was where the study may have changed."""
        if self._storage:
            return int(time.monotonic() / PATIENCE)
        file = study_folder(self.name) / "study.db"
        if not file.exists() and self._store is not None:
            raise StudyError(f"study {self.name!r} is no longer in {file.parent}.")
        return [_stamp(path) for path in (file, Path(f"{file}-wal"))]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
