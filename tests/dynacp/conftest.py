"""A small data set, and a run trained on it: made once for all tests of a process."""

import shutil
from pathlib import Path

import pytest
import tiny

from dynacp.__main__ import main


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_tiny(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def calm(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that nothing disturbed; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "calm"
    assert main(tiny.train_options(data, run)) == 0
    return run


@pytest.fixture(scope="session")
def lean(data: Path, calm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed, of a network that is exported in seconds, has no norm that stays behind a sum,
    and whose base was trained until it recognises every test clip."""
    run = tmp_path_factory.mktemp("runs") / "lean"
    shutil.copytree(calm / "teachers", run / "teachers")
    assert main(tiny.lean_options(data, run)) == 0
    return run


@pytest.fixture
def copy(calm: Path, tmp_path: Path) -> Path:
    """The finished run, to be changed."""
    return shutil.copytree(calm, tmp_path / "run")
