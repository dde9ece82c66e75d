"""How fast the page of `nas.design` answers an edit, and opens a large study, in headless Chromium.

    python -m benchmarks.design [--edits 300] [--candidates 10000]

An edit takes from the click until the number, the verdict and the price of every other edit are painted. The
alternative counts, in the same run, what the page then shows: every single edit's network with torchinfo, which must
build it. A study is made, which takes some ten minutes, read by the command until it prints its address, and the page
opened until its points are drawn. Needs chromium and chromium-driver.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.browser import browser, open_tab, serving
from benchmarks.coordinator import SETTINGS, candidates
from budget.witness import by_torchinfo
from dynacp.student.architecture import TABLE1
from dynacp.student.model import DynaCP
from nas.designer.app import create_app
from nas.editing.judged import Judged, Terms
from nas.study.store import Store, connect, default_storage, study_folder

EDIT = """
const done = arguments[1], open = e => !e.disabled && e.getAttribute("aria-pressed") !== "true";
const edits = [...document.querySelectorAll("#network-wide [data-edit], .block [data-edit]")].filter(open);
const removes = edits.filter(e => e.dataset.edit.startsWith("remove"));
const among = document.querySelectorAll(".block").length > 8 ? removes : edits;
const edit = among[Math.floor(arguments[0] * among.length)], started = performance.now();
const painted = () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
const watch = new MutationObserver(() => { watch.disconnect(); painted(); });
for (const part of ["costs", "network-wide", "blocks"])
  watch.observe(document.getElementById(part), {childList: true, subtree: true});
edit.click();
setTimeout(() => done(null), 2000);
"""
"""Clicks on one of the edits, and gives the milliseconds until its answer is painted; null where it changed nothing."""


def answers(number: int, profile: Path) -> list[float]:
    """Milliseconds that each of so many random edits takes."""
    rng, times = np.random.default_rng(0), list[float]()
    with serving(create_app(TABLE1, Terms())) as address, browser(profile) as running:
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


def make_study(number: int) -> None:
    """Store a study `large` of so many candidates."""
    made = candidates()
    study_folder("large").mkdir(parents=True)
    store = Store.create_or_resume("large", connect("large", default_storage("large")), SETTINGS)
    store.study.add_trials([next(made) for _ in range(number)])


def opened(number: int, profile: Path) -> tuple[float, float]:
    """Seconds that the command takes to print its address, with this study, and that the page then takes to show it."""
    arguments = ["-m", "nas.design", "--study", "large", "--port", "0"]
    with browser(profile) as running:
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as command:
            try:
                assert command.stdout
                address = next(word for line in command.stdout for word in line.split() if word.startswith("http"))
                read, started = time.perf_counter() - started, time.perf_counter()
                running.get(address)
                wait = WebDriverWait(running, 120, 0.05)
                wait.until(lambda opened: opened.find_elements(By.CSS_SELECTOR, ".block"))
                open_tab(running, "Study")
                drawn = "#study-figure .gl-container canvas, #study-figure .scatterlayer .point"
                wait.until(lambda opened: opened.find_elements(By.CSS_SELECTOR, drawn))
                wait.until(lambda opened: f"{number:,} candidates" in opened.find_element(By.ID, "study-facts").text)
                return read, time.perf_counter() - started
            finally:
                command.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=300, metavar="N")
    parser.add_argument("--candidates", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the study is kept there
        times, alternative = answers(options.edits, Path(folder, "one")), recounted()
        view = Table("what", "time", "against torchinfo")
        for name, milliseconds in zip(("median", "95th percentile"), np.percentile(times, [50, 95]), strict=True):
            faster = f"{alternative / milliseconds:.0f} times faster"
            view.add_row(f"an edit, {name} of {len(times)}", f"{milliseconds:.0f} ms", faster)
        view.add_row("all single edits, torchinfo", f"{alternative:,.0f} ms", "")
        Console().print(view)
        make_study(options.candidates)
        read, shown = opened(options.candidates, Path(folder, "other"))
        told = f"With a study of {options.candidates:,} candidates the command prints its address after {read:.1f} s; "
        Console().print(told + f"the page then opens with their points in {shown:.1f} s.")


if __name__ == "__main__":
    main()
