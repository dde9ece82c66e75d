"""A real browser without a screen, for benchmarks and tests of pages, and a page that is served to it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dash
from selenium import webdriver
from selenium.webdriver.common.by import By

from nas.designer.server import served

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@contextmanager
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Chromium with a new profile in that folder, and with its console's messages at hand.

    Raises `FileNotFoundError` where it or its driver is not installed.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        raise FileNotFoundError("needs Chromium and its driver (on Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}", "--window-size=1280,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield running
    finally:
        running.quit()


def open_tab(page: webdriver.Chrome, name: str) -> None:
    """Click on the tab that is called so."""
    next(each for each in page.find_elements(By.CSS_SELECTOR, "#tab label") if each.text == name).click()


@contextmanager
def serving(app: dash.Dash) -> Iterator[str]:
    """The address at which the app is served while the block runs."""
    with served(app, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            server.shutdown()
            thread.join()
