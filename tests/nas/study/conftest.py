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
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes a new database and returns its URL."""
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path / name}.db"
    server: Postgres = request.getfixturevalue("postgres")
    return lambda name: server.create_database(f"{name}_{time.monotonic_ns()}")


@pytest.fixture
def opened(database: Callable[[str], str]) -> Iterator[Opened]:
    """An empty queue in a new database."""
    opened = Opened.new(database("work"))
    yield opened
    opened.storage.engine.dispose()
