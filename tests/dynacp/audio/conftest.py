"""The small data set, to be looked at or damaged."""

import shutil
from pathlib import Path

import pytest
import tiny


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that is not to be changed."""
    return tiny.write_tiny(tmp_path_factory.mktemp("tiny") / "set")


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "set"))
