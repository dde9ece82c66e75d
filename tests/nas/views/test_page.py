"""The page about a search, in a real browser: no errors, the architecture on hovering, readable on a phone."""

import io
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from browsers import DESK, PHONE, errors, resize
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tiny import search_options

from budget.cli.command import run
from nas.export import main as export_main
from nas.report import command
from nas.report import main as report_main
from nas.results.finalists import finalists
from nas.search import main
from nas.study.database import without_password
from nas.study.store import Store
from nas.views.page import verdict
from nas.views.terminal import Screen


@pytest.fixture(scope="module")
def study(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A search, its page written, in the working folder."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(search_options(data, "page", 6)) == 0
        assert report_main(["--study", "page"]) == 0
        yield Store.open("page")


def opened(browser: webdriver.Chrome, study: Store, size: tuple[int, int]) -> webdriver.Chrome:
    """The page at a window of that size, when its pictures are drawn."""
    resize(browser, size)
    browser.get((study.folder / "report.html").resolve().as_uri())
    WebDriverWait(browser, 60).until(lambda page: len(page.find_elements(By.CSS_SELECTOR, ".plot .main-svg")) >= 4)
    return browser


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_opens_without_errors_and_fits_the_window(
    browser: webdriver.Chrome, study: Store, size: tuple[int, int]
) -> None:
    page = opened(browser, study, size)
    assert errors(page) == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
    for picture in page.find_elements(By.CSS_SELECTOR, ".plot"):
        assert picture.size["width"] > 0.85 * min(size[0], 1_024)
    small = page.execute_script(
        "return [...document.querySelectorAll('p, td, th, dd, h1, h2')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0, "text that a phone makes unreadable"


def test_it_needs_no_network(study: Store) -> None:
    text = (study.folder / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", text)


def test_hovering_over_a_candidate_shows_its_blocks(browser: webdriver.Chrome, study: Store) -> None:
    page = opened(browser, study, DESK)
    point = page.find_element(By.CSS_SELECTOR, ".plot .scatterlayer .point")
    ActionChains(page).move_to_element(point).pause(0.5).perform()
    label = WebDriverWait(page, 20).until(lambda p: p.find_element(By.CSS_SELECTOR, ".hoverlayer text")).text
    blocks = [re.sub(r"\s", "", candidate["layout"].split(" | ")[0]) for candidate in study.candidates]
    assert any(block in re.sub(r"\s", "", label) for block in blocks), label


def test_it_says_what_the_study_holds(study: Store) -> None:
    text = (study.folder / "report.html").read_text(encoding="utf-8")
    entries, results = finalists(study), study.results()
    assert verdict(study, entries).split(";")[0] in text
    for entry in entries:
        assert f"{entry.mean:.1%} ± {entry.deviation * 100:.1f}" in text
    for architecture in [entry.candidate["layout"] for entry in entries]:
        assert architecture.split(" | ")[0].replace(">", "&gt;") in text
    assert f"{int(results['rejected'].sum()):,} did not fit" in text
    assert "python -m nas.search --data" in text
    for name in ("torch", "optuna"):
        assert f"{name} {study.settings.content['versions'][name]}" in text


@pytest.mark.parametrize("asked", ["", " --trials 200", " --trials=20", " --trials 2 --seed 1"])
def test_the_command_that_reproduces_a_search_names_as_many_trials_as_there_are(
    study: Store, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(study.settings.content, "command", f"python -m nas.search --data 'a folder'{asked}")
    words = shlex.split(command(study))
    assert words[:5] == ["python", "-m", "nas.search", "--data", "a folder"]
    assert [word for word in words if word.startswith("--trials")] == ["--trials"]
    assert words[words.index("--trials") + 1] == str(len(study.candidates))


@pytest.mark.usefixtures("handlers")
def test_a_finished_search_its_page_and_its_export_are_told_in_ascii(
    study: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = search_options(data, "page", 6)
    commands = (
        partial(main, finished),
        partial(report_main, ["--study", "page"]),
        partial(export_main, ["--study", "page", "--pick", "0", "--out", "an export"]),
    )
    told = []
    for each in commands:
        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr("sys.stdout", out)
        assert run(each) == 0
        told.append(out.buffer.getvalue().decode())
    assert "mean +- sd" in told[0]
    assert re.search(r"Trained in full: [\d.]+% \+- [\d.]+ \(5\)", told[2])
    pasted = shlex.split(re.search("Row by row: (.*)", told[2])[1])  # type: ignore[index]
    assert pasted == ["python", "-m", "budget", "an export/page-0.json", "--dtype", "float16"]


def test_what_to_do_next_can_be_pasted(study: Store, capsys: pytest.CaptureFixture[str]) -> None:
    url = "mysql+pymysql://nas:secret@db.example/nas?charset=utf8&local=a b"
    Screen().conclude(study, finalists(study), [], url)
    commands = re.findall(r"python -m nas\.\w+ [^;]+", capsys.readouterr().out)
    assert [shlex.split(each)[2] for each in commands] == ["nas.report", "nas.export"]
    assert all(shlex.split(each)[3:] == ["--study", "page", "--storage", without_password(url)] for each in commands)


def test_a_study_without_a_page_to_write_ends_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report_main(["--study", "none"]) == 2
    assert "no study 'none'" in capsys.readouterr().err
