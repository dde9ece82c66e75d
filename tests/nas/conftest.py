"""Fixtures for the tests of searches and pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import running_browser
from selenium import webdriver


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser, the same for all tests of a file."""
    yield from running_browser(tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, so that studies/ is the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
