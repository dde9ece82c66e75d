"""A real browser in tests, of a phone's size or a desk's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from benchmarks.browser import browser

PHONE, DESK = (390, 844), (1280, 900)


def running_browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Chromium with a new profile in that folder; the test skips where it is not installed."""
    try:
        with browser(profile) as running:
            yield running
    except FileNotFoundError as error:
        pytest.skip(str(error))


def resize(browser: webdriver.Chrome, size: tuple[int, int]) -> None:
    """Give the window that size in pixels; `PHONE` is a phone's."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def errors(browser: webdriver.Chrome) -> list[Any]:
    """What the browser's console complained of since it was last asked."""
    return [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]
