"""Databases to search in: a file, and a server's."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from queues import Opened
from servers import Postgres

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes a new database and returns its URL. A server's are dropped at the end, with the connections to them."""
    if request.param == "sqlite":
        yield lambda name: f"sqlite:///{tmp_path / name}.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    names = []

    def new(name: str) -> str:
        names.append(f"{name}_{time.monotonic_ns()}")
        return server.create_database(names[-1])

    yield new
    for name in names:
        server.drop_database(name)


@pytest.fixture
def opened(database: Callable[[str], str]) -> Iterator[Opened]:
    """An empty queue in a new database."""
    opened = Opened.new(database("work"))
    yield opened
    opened.storage.engine.dispose()
