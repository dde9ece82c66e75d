"""Runs trained on the small data set: made once for all tests."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from dynacp.__main__ import main


@pytest.fixture(scope="session")
def calm(data: Path, once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A finished run that nothing disturbed; not to be changed."""

    def make(run: Path) -> None:
        assert main(tiny.train_options(data, run)) == 0

    return once("calm", make)


@pytest.fixture(scope="session")
def lean(data: Path, calm: Path, once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A finished run, not to be changed, of a network that is exported in seconds, has no norm that stays behind a sum,
    and whose base was trained until it recognises every test clip."""

    def make(run: Path) -> None:
        shutil.copytree(calm / "teachers", run / "teachers")
        assert main(tiny.lean_options(data, run)) == 0

    return once("lean", make)


@pytest.fixture
def copy(calm: Path, tmp_path: Path) -> Path:
    """The finished run, to be changed."""
    return shutil.copytree(calm, tmp_path / "run")
