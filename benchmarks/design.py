"""How fast the page of `nas.design` answers an edit, and opens a large study, in headless Chromium.

    python -m benchmarks.design [--edits 300] [--candidates 10000]

An edit takes from the click to the painted number, the verdict and the price of every other edit being on the page by
then. The alternative counts, in the same run, what the page then shows: every single edit's network with torchinfo,
which must build it. A study is opened from nothing, until its points are drawn. Needs chromium and chromium-driver.

Notes. Most of an edit's time is the browser's: it lays out some 150 buttons anew.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.coordinator import SETTINGS, candidates
from budget.witness import by_torchinfo
from dynacp.student.architecture import TABLE1
from dynacp.student.model import DynaCP
from nas.designer.app import create_app
from nas.designer.server import served
from nas.designer.watched import Watched
from nas.editing.judged import Judged, Terms
from nas.study.store import Store, connect, default_storage, study_folder

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

EDIT = """
const done = arguments[1], open = e => !e.disabled && e.getAttribute("aria-pressed") !== "true";
const edits = [...document.querySelectorAll("#network-wide [data-edit], .block [data-edit]")].filter(open);
const removes = edits.filter(e => e.dataset.edit.startsWith("remove"));
const among = document.querySelectorAll(".block").length > 8 ? removes : edits;
const edit = among[Math.floor(arguments[0] * among.length)], started = performance.now();
const painted = () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
const watch = new MutationObserver(() => { watch.disconnect(); painted(); });
const all = {subtree: true, childList: true, attributes: true, characterData: true};
watch.observe(document.getElementById("costs"), all);
edit.click();
setTimeout(() => done(null), 2000);
"""
"""Clicks on one of the edits, and gives the milliseconds until its answer is painted; null where it changed no cost."""


@contextmanager
def page(watched: Watched | None = None) -> Iterator[str]:
    """The address of a page that is served meanwhile."""
    with served(create_app(TABLE1, Terms(), watched), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.port}"
        server.shutdown()
        thread.join()


@contextmanager
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}", "--window-size=1280,1000"):
        options.add_argument(flag)
    running = webdriver.Chrome(options=options)
    yield running
    running.quit()


def answers(number: int, profile: Path) -> list[float]:
    """Milliseconds that each of so many random edits takes."""
    rng, times = np.random.default_rng(0), list[float]()
    with page() as address, browser(profile) as running:
        running.get(address)
        WebDriverWait(running, 60).until(lambda opened: opened.find_elements(By.CSS_SELECTOR, ".block"))
        while len(times) < number:
            if (took := running.execute_async_script(EDIT, rng.random())) is not None:
                times.append(took)
    return times


def recounted() -> float:
    """Milliseconds that torchinfo takes for all single edits of Table 1."""
    judged = Judged(TABLE1, Terms())
    values = [value for block in judged.block_choices for choice in block for value in choice.values]
    values += [value for choice in judged.network_choices for value in choice.values]
    started = time.perf_counter()
    for value in values:
        by_torchinfo(DynaCP(value.network).eval(), (1, 1, *value.network.input))
    return 1e3 * (time.perf_counter() - started)


def opened(number: int, profile: Path) -> float:
    """Seconds from asking for the page of a study with so many candidates until their points are drawn."""
    made = candidates()
    study_folder("large").mkdir(parents=True)
    store = Store.create_or_resume("large", connect("large", default_storage("large")), SETTINGS)
    store.study.add_trials([next(made) for _ in range(number)])
    with browser(profile) as running:
        started = time.perf_counter()
        with page(Watched("large", None)) as address:
            running.get(address)
            wait = WebDriverWait(running, 120, 0.05)
            wait.until(lambda opened: opened.find_elements(By.CSS_SELECTOR, ".block"))
            tabs = running.find_elements(By.CSS_SELECTOR, "[role=tab], .tab")
            next(tab for tab in tabs if tab.text == "Study").click()
            wait.until(lambda opened: opened.find_elements(By.CSS_SELECTOR, "#study-figure .gl-container canvas"))
            wait.until(lambda opened: f"{number:,} candidates" in opened.find_element(By.ID, "study-facts").text)
            return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=300, metavar="N")
    parser.add_argument("--candidates", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the study is kept there
        times, alternative = answers(options.edits, Path(folder, "one")), recounted()
        median, most = np.percentile(times, [50, 95])
        view = Table("what", "time", "against torchinfo")
        view.add_row(f"an edit, median of {len(times)}", f"{median:.0f} ms", f"{alternative / median:.0f} times faster")
        view.add_row("an edit, 95th percentile", f"{most:.0f} ms", f"{alternative / most:.0f} times faster")
        view.add_row("all single edits, torchinfo", f"{alternative:,.0f} ms", "")
        seconds = opened(options.candidates, Path(folder, "other"))
        view.add_row(f"a study of {options.candidates:,} candidates opens", f"{seconds:.1f} s", "")
        Console().print(view)


if __name__ == "__main__":
    main()
