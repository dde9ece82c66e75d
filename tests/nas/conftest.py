"""Fixtures for the tests of pages."""

from collections.abc import Iterator

import pytest
from browsers import running_browser
from selenium import webdriver


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser, the same for all tests of a file."""
    yield from running_browser(tmp_path_factory.mktemp("chromium"))
