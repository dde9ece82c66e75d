"""The page beside a study: its picture, a click on a candidate, what the model expects, a search that goes on."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from browsers import DESK, errors, resize
from made_up import made_up_score, made_up_training, settings
from selenium import webdriver
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.browser import open_tab, serving
from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture
from dynacp.student.layers import layers_of
from nas.design import parser, terms_asked
from nas.designer.app import create_app
from nas.designer.watched import Watched
from nas.editing.judged import Terms
from nas.space.counting import sample_fitting
from nas.space.space import Space
from nas.strategy.propose import Proposal, Rules
from nas.study.candidate import Candidate
from nas.study.store import Store, connect, default_storage, study_folder

RULES = Rules(Space(), Limits(), "float16")
FIRST = 30


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A stored search with a few made-up candidates, in the working folder."""
    monkeypatch.chdir(tmp_path)
    study_folder("watched").mkdir(parents=True)
    store = Store.create_or_resume("watched", connect("watched", default_storage("watched")), settings(RULES.space))
    grow(store, FIRST)
    return store


def grow(store: Store, number: int) -> None:
    """Add candidates up to that number."""
    rng = np.random.default_rng(0)
    choices = sample_fitting(RULES.space, RULES.limits, RULES.dtype, proposals=10 * number, rng=rng).values()
    networks = [TABLE1, *map(RULES.space.decode, choices)][:number]
    for index in range(len(store.study.trials), number):
        training = {**asdict(made_up_training(made_up_score(networks[index]))), "seed": 0}
        proposal = Proposal.of(networks[index], RULES)
        store.study.add_trial(Candidate.trained(index, RULES, proposal, samples=1, training=training).trial)
    store.read()


@pytest.fixture
def page(store: Store, browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The page with the study's tab open and its picture drawn."""
    assert store.candidates
    resize(browser, DESK)
    with serving(create_app(TABLE1, Terms(), Watched("watched", None))) as address:
        browser.get(address)
        wait(browser).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#blocks .block"))
        open_tab(browser, "Study")
        wait(browser).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#study-figure .scatterlayer .point"))
        yield browser
        browser.get("about:blank")


def wait(page: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    """Until something holds; what is replaced while it is looked at is looked at again."""
    return WebDriverWait(page, 60, 0.05, ignored_exceptions=[StaleElementReferenceException])


def network(page: webdriver.Chrome) -> Architecture:
    return Architecture.from_json(parse_qs(urlparse(page.current_url).query)["network"][0])


PLACES = """
const chart = document.querySelector("#study-figure .js-plotly-plot");
const points = [...chart.querySelectorAll(".scatterlayer .trace")[1].querySelectorAll(".point")];
return points.map(point => {
  const box = point.getBoundingClientRect();
  return [chart.data[1].customdata[point.__data__.i], box.x + box.width / 2, box.y + box.height / 2];
});
"""
"""The number of the candidate that each point stands for, and where its middle is in the window."""


def load(page: webdriver.Chrome, place: int) -> int:
    """Click on one of the points that stand apart from others; returns the number of its candidate."""
    before = page.current_url
    page.execute_script("document.getElementById('study-figure').scrollIntoView()")

    def still(page: webdriver.Chrome) -> list[list[float]]:
        """The points, once a chart that is drawn or resized has come to rest."""
        first = page.execute_script(PLACES)
        time.sleep(0.5)
        return first if page.execute_script(PLACES) == first else []

    points = WebDriverWait(page, 60, 0.1, ignored_exceptions=[JavascriptException]).until(still)
    places = np.array([[x, y] for _, x, y in points])
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(len(places))
    number, x, y = points[np.flatnonzero(apart.min(axis=0) > 15)[place]]
    mouse = ActionBuilder(page)
    mouse.pointer_action.move_to_location(round(x), round(y)).pause(0.3).click()
    mouse.perform()
    wait(page).until(lambda page: page.current_url != before)
    return int(number)


def mark(page: webdriver.Chrome) -> tuple[float, float]:
    """Where the network that is edited stands: millions of MACs, and the accuracy that is expected of it in %."""
    x, y = page.execute_script(
        "const mark = document.querySelector('#study-figure .js-plotly-plot').data[0]; return [mark.x[0], mark.y[0]]"
    )
    return x, y


def test_a_click_on_a_point_loads_its_candidate_and_the_mark_follows(page: webdriver.Chrome, store: Store) -> None:
    number = load(page, 2)
    candidate = store.candidates[number]
    assert network(page) == candidate.architecture
    wait(page).until(lambda page: mark(page)[0] == pytest.approx(candidate.macs / 1e6))
    expected = store.expected()[number].accuracy
    assert mark(page)[1] == pytest.approx(100 * expected, abs=0.01)
    assert f"expects {100 * expected:.1f} %" in page.find_element(By.ID, "predicted").text
    assert errors(page) == []


def test_two_candidates_stand_side_by_side(page: webdriver.Chrome, store: Store) -> None:
    one = store.candidates[load(page, 0)]
    page.find_element(By.ID, "pin").click()
    wait(page).until(lambda page: page.find_elements(By.CSS_SELECTOR, ".comparison"))
    open_tab(page, "Study")
    other = store.candidates[load(page, 1)]
    open_tab(page, "Compare")
    beside = f"{one.macs:,} {other.macs:,}"
    wait(page).until(lambda page: beside in page.find_element(By.CSS_SELECTOR, ".comparison").text)
    told = page.find_element(By.CSS_SELECTOR, ".comparison").text
    assert str(one.architecture.blocks[0]) in told
    for each in (one, other):
        assert f"#{each.number}, {each.accuracy:.1%} after a short training" in told
    assert page.find_elements(By.CSS_SELECTOR, ".comparison .differs")


def test_a_search_that_goes_on_shows_up_by_itself(page: webdriver.Chrome, store: Store) -> None:
    wait(page).until(lambda page: f"{FIRST} candidates" in page.find_element(By.ID, "study-facts").text)
    grow(store, FIRST + 3)
    wait(page).until(lambda page: f"{FIRST + 3} candidates" in page.find_element(By.ID, "study-facts").text)


def test_candidates_can_be_filtered(page: webdriver.Chrome, store: Store) -> None:
    few = sum(len(each.architecture.blocks) <= 5 for each in store.candidates)
    page.execute_script("dash_clientside.set_props('filter-blocks', {value: [4, 5]})")
    wait(page).until(lambda page: f"{few} of them shown" in page.find_element(By.ID, "study-facts").text)


def test_a_candidate_is_loaded_by_its_number_too(page: webdriver.Chrome, store: Store) -> None:
    field, before = page.find_element(By.CSS_SELECTOR, '[data-entry="candidate"] input'), page.current_url
    field.send_keys("#5", Keys.ENTER)
    wait(page).until(lambda page: page.current_url != before)
    assert network(page) == store.candidates[5].architecture
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("987", Keys.ENTER)
    wait(page).until(lambda page: "has no trained candidate '987'" in page.find_element(By.ID, "message").text)


def test_nothing_is_expected_of_a_network_for_another_task(page: webdriver.Chrome) -> None:
    page.execute_script("dash_clientside.set_props('edit', {data: {text: 'classes=3', count: 99}})")
    wait(page).until(lambda page: "no word on this one" in page.find_element(By.ID, "predicted").text)


def test_a_study_that_vanishes_is_told_until_it_is_back(page: webdriver.Chrome, store: Store) -> None:
    file, facts, predicted = store.folder / "study.db", (By.ID, "study-facts"), (By.ID, "predicted")
    moved = file.rename(file.with_suffix(".away"))
    wait(page).until(lambda page: "no longer" in page.find_element(*facts).text)
    wait(page).until(lambda page: "no longer" in page.find_element(*predicted).text)
    moved.rename(file)
    wait(page).until(lambda page: "candidates" in page.find_element(*facts).text)
    wait(page).until(lambda page: "expects" in page.find_element(*predicted).text)
    assert errors(page) == []


def test_another_study_in_the_place_of_one_is_shown_in_its_place(page: webdriver.Chrome, store: Store) -> None:
    file, facts = store.folder / "study.db", (By.ID, "study-facts")
    away = file.rename(file.with_suffix(".away"))
    wait(page).until(lambda page: "no longer" in page.find_element(*facts).text)
    shutil.copy(away, file)
    grow(Store.open("watched"), FIRST + 2)
    wait(page).until(lambda page: f"{FIRST + 2} candidates" in page.find_element(*facts).text)
    away.replace(file)
    wait(page).until(lambda page: f"{FIRST} candidates" in page.find_element(*facts).text)


def test_far_from_all_candidates_nothing_is_to_be_trusted(page: webdriver.Chrome) -> None:
    told = (By.ID, "predicted")
    wait(page).until(lambda page: "expects" in page.find_element(*told).text)
    assert "do not trust" not in page.find_element(*told).text
    page.execute_script("dash_clientside.set_props('edit', {data: {text: 'dilation_6=500', count: 99}})")
    wait(page).until(lambda page: "seen nothing near" in page.find_element(*told).text)


def test_a_study_s_terms_are_the_page_s_unless_others_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study_folder("small").mkdir(parents=True)
    rules = Rules(Space(), Limits(max_macs=20_000_000), "int8")
    kept = Store.create_or_resume(
        "small", connect("small", default_storage("small")), settings(RULES.space, rules.limits, "int8")
    )
    training = {**asdict(made_up_training(0.5)), "seed": 0}
    kept.study.add_trial(Candidate.trained(0, rules, Proposal.of(TABLE1, rules), samples=1, training=training).trial)
    watched = Watched("small", None)
    options = parser().parse_args(["--study", "small", "--max-bytes", "100000"])
    assert terms_asked(options, watched) == Terms(Limits(100_000, 20_000_000), "int8")
    assert terms_asked(parser().parse_args(["--dtype", "float32"]), None) == Terms(Limits(), "float32")
    assert watched.macs(TABLE1) == totals(layers_of(TABLE1), dtype="int8").macs != totals(layers_of(TABLE1)).macs
