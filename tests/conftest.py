"""Fixtures shared by all tests."""

import os
import pwd
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# One thread for each of the processes that share the tests: torch's threads wait for each other by spinning, and more
# of them than cores make everything ten times slower. Set before torch is imported, and inherited by what tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from filelock import FileLock
from hypothesis import settings
from servers import Postgres

from budget.cli.command import name_user

name_user()  # as all commands do

settings.register_profile("unhurried", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("unhurried")

# A shell lets its background jobs ignore ^C, and so would all that the tests start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes a path by its name and a function, once for all processes of a test run; the others wait for it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        path, done = folder / name, folder / f"{name}.done"
        with FileLock(folder / f"{name}.lock"):
            if not done.exists():
                make(path)
                done.touch()
        return path

    return made


@pytest.fixture(scope="session")
def data(once: Once) -> Path:
    """A small data set, not to be changed; beside it a cache of what is decoded and of a search's teachers."""
    from tiny import write_tiny  # it imports torch, which not every process of a test run needs

    return once("tiny", lambda folder: write_tiny(folder / "data")) / "data"


@pytest.fixture(scope="session")
def finished_run(data: Path, once: Once) -> Path:
    """A finished run that nothing disturbed; not to be changed."""

    from tiny import train_options

    from dynacp.__main__ import main

    def make(run: Path) -> None:
        assert main(train_options(data, run)) == 0

    return once("finished_run", make)


@pytest.fixture(scope="session")
def lean_run(data: Path, finished_run: Path, once: Once) -> Path:
    """A finished run, not to be changed, of a network that is exported in seconds, has no norm that stays behind a sum,
    and whose base was trained until it recognises every test clip."""

    from tiny import lean_options

    from dynacp.__main__ import main

    def make(run: Path) -> None:
        shutil.copytree(finished_run / "teachers", run / "teachers")
        assert main(lean_options(data, run)) == 0

    return once("lean_run", make)


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    """The finished run, to be changed."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture(scope="session")
def finished_search(data: Path, once: Once) -> Path:
    """A folder `studies` with a study `finished` that nothing disturbed; not to be changed."""
    from tiny import search_options

    from nas.search import main

    def make(folder: Path) -> None:
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert main(search_options(data, "finished", 5)) == 0

    return once("finished_search", make) / "studies"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real checkpoint and the real recordings; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs real recordings and a real checkpoint in {folder.name}/ beside the checkout")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real server; tests that need it skip where it is not installed."""
    binaries = Postgres.binaries_here()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server (on Debian: apt-get install postgresql)")
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        pytest.skip("PostgreSQL runs for users with an account alone, and this one has none")
    server = Postgres(binaries)
    yield server
    server.remove()


@pytest.fixture
def handlers() -> Iterator[None]:
    """What a command line sets for its whole process is set back."""
    unraisable, terminated = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    yield
    sys.unraisablehook = unraisable
    signal.signal(signal.SIGTERM, terminated)
