"""The database that a search is kept in: how it is opened, what its errors mean, and how its absence is survived."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from optuna.exceptions import StorageInternalError
from sqlalchemy import Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError
from tenacity import (
    RetryCallState,
    retry,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from nas.study.storage import Storage

HEARTBEAT_SECONDS = 10
"""Seconds between two heartbeats of a worker."""

GRACE_SECONDS = 60
"""Seconds without a new heartbeat, as another worker watches, until a worker's trial is given up."""

LOCK_SECONDS = 120
"""Seconds that a worker waits for the others' transactions on SQLite, which has one lock for everything."""

OUTAGE_SECONDS = 600
"""Seconds that a database server may be away before a worker stops."""

_SQLITE = b"SQLite format 3\0"
"""The bytes that SQLite files begin with."""

CONNECT_SECONDS = 10
"""Seconds that PostgreSQL's driver waits for a connection."""

UNANSWERED_MILLISECONDS = 30_000
"""Milliseconds that PostgreSQL's driver waits for a server's machine that does not answer any more."""


@retry(
    retry=retry_if_exception_type(DatabaseError), stop=stop_after_attempt(5), wait=wait_random(0.1, 1.0), reraise=True
)
def open_storage(url: str) -> Storage:
    """Open the database at a SQLAlchemy URL as Optuna's storage; makes its tables in a new one.

    Two workers cannot claim one trial in it, and a server that restarts is found again. Tried a few times, because
    workers that start at once on a new database are in each other's way making its tables. Raises what SQLAlchemy and
    Optuna raise.
    """
    sqlite, engine = _engine_options(url)
    storage = Storage(url, engine_kwargs=engine)
    if sqlite:
        _lock_from_the_start(storage.engine)
    return storage


def _engine_options(url: str) -> tuple[bool, dict[str, Any]]:
    """Whether it is SQLite, and how its engine is made."""
    database = make_url(url)
    if database.get_backend_name() == "sqlite":
        return True, {"connect_args": {"timeout": LOCK_SECONDS}}
    if database.get_driver_name().startswith("psycopg"):
        waits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": UNANSWERED_MILLISECONDS}
        return False, {"pool_pre_ping": True, "connect_args": waits}
    return False, {"pool_pre_ping": True}


def check_database(url: str, *, may_be_new: bool) -> None:
    """Raise `ValueError` for a database that holds no search, and for a damaged SQLite file.

    Called before Optuna opens it, which would make its tables in another program's database, as SQLite would make a
    file where there is none. With `may_be_new` the database may also be missing or empty or, on a server, hold tables
    of others. A database that cannot be opened raises SQLAlchemy's error.
    """
    sqlite, options = _engine_options(url)
    file = make_url(url).database if sqlite else None
    if file and not file.startswith((":memory:", "file:")) and not _written(Path(file), may_be_new=may_be_new):
        return
    engine = create_engine(url, **options)
    try:
        if not inspect(engine).has_table("studies") and (sqlite or not may_be_new):
            raise ValueError(f"{file or 'it'} is a database, but not one of Optuna's")
        if sqlite:
            with engine.connect() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if found != "ok":
                raise ValueError(f"{file} is damaged: {found}; take a copy that is whole")
    finally:
        engine.dispose()


def _written(file: Path, *, may_be_new: bool) -> bool:
    """Whether something is in a database's file. Raises `ValueError` for what is none."""
    if file.is_dir():
        raise ValueError(f"{file} is a folder")
    if not file.exists() or not file.stat().st_size:
        if may_be_new:
            return False
        raise ValueError(f"{file} is empty" if file.exists() else f"{file} does not exist")
    with file.open("rb") as content:
        if content.read(len(_SQLITE)) != _SQLITE:
            raise ValueError(f"{file} is no SQLite database")
    return True


def _lock_from_the_start(engine: Engine) -> None:
    """SQLite ignores SELECT ... FOR UPDATE, by which Optuna makes claims atomic: so every transaction locks at once."""

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # or sqlite3 begins transactions by itself, too late

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()


@contextmanager
def reading_much() -> Iterator[None]:
    """Leave the garbage collector out while the block makes millions of objects that stay: it would take as long."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def cause(error: BaseException) -> str:
    """What went wrong with a storage, in a line without a full stop: the database's own words rather than Optuna's."""
    source = error.__cause__ or error
    return (str(source).splitlines() or [type(source).__name__])[0].rstrip(". ")


def without_password(url: str) -> str:
    """A database's URL with its password replaced by `***`, to be shown and kept; what is no URL, as it is."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def server_is_away(error: BaseException) -> bool:
    """Whether an error of SQLAlchemy or Optuna means that the database server cannot be reached; never for SQLite."""
    source = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(source, OperationalError | InterfaceError) and "sqlite3" not in type(source.orig).__module__


class Server:
    """Remembers when this process last found its database server away."""

    last_away = float("-inf")
    """When that was, in seconds of `time.monotonic`: no worker could record a heartbeat then. -inf for never."""

    def was_away(self) -> None:
        """Note that the server is away now, so that no worker is given up for heartbeats that it could not record."""
        self.last_away = monotonic()


server = Server()
"""The one of this process."""


def _say_that_it_is_away(state: RetryCallState) -> None:
    server.was_away()
    error = state.outcome and state.outcome.exception()
    if error:
        logging.getLogger(__name__).warning("The database cannot be reached (%s); trying again.", cause(error))


patiently = retry(
    retry=retry_if_exception(server_is_away),
    wait=wait_exponential(max=10),
    stop=stop_after_delay(OUTAGE_SECONDS),
    before_sleep=_say_that_it_is_away,
    reraise=True,
)
"""Decorator: calls the function again while the database server is away, for up to `OUTAGE_SECONDS`.

Then its error passes, as all other errors do at once. What is done twice because an answer was lost ends as if done
once; only a claim whose answer was lost is nobody's until its heartbeat is old.
"""
