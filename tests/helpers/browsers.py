"""A real browser without a screen, for the pages that the commands write and serve."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dash
import pytest
from selenium import webdriver

from nas.designer.server import served

PHONE, DESK = (390, 844), (1280, 900)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def running_browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Chromium with a new profile in that folder; the test skips where it is not installed."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("needs Chromium and its driver (on Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


def resize(browser: webdriver.Chrome, size: tuple[int, int]) -> None:
    """Give the window that size in pixels; `PHONE` is a phone's."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def errors(browser: webdriver.Chrome) -> list[Any]:
    """What the browser's console complained of since it was last asked."""
    return [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]


@contextmanager
def serving(app: dash.Dash) -> Iterator[str]:
    """The address at which the app is served while the block runs."""
    with served(app, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.port}"
        server.shutdown()
        thread.join()
