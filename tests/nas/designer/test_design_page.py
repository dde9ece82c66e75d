"""The page on which networks are designed, in a real browser, against the counter's own command."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import frozen
import numpy as np
import pytest
from browsers import DESK, PHONE, errors, resize, running_browser
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import visibility_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.browser import open_tab, serving
from budget.__main__ import main as budget_main
from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture
from dynacp.student.layers import layers_of
from nas.design import main
from nas.designer.app import create_app
from nas.designer.server import address_of, served
from nas.editing.edits import edited
from nas.editing.judged import Terms
from nas.space.network_wide import EVERY
from nas.space.space import Space

EDITS, SPACE = 200, Space(network_wide=EVERY)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A page that is served, which starts with Table 1."""
    with serving(create_app(TABLE1, Terms())) as served_at:
        yield served_at


def opened(browser: webdriver.Chrome, address: str, size: tuple[int, int] = DESK) -> webdriver.Chrome:
    resize(browser, size)
    browser.get(address)
    WebDriverWait(browser, 60).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#blocks .block"))
    return browser


def network(page: webdriver.Chrome) -> Architecture:
    """The network that the address holds."""
    return Architecture.from_json(parse_qs(urlparse(page.current_url).query)["network"][0])


def text(page: webdriver.Chrome, name: str) -> str:
    """Of a part of the page by its id, read in one go, since it may be replaced at any moment."""
    told: str = page.execute_script("return document.getElementById(arguments[0])?.textContent", name)
    return told or ""


def click(page: webdriver.Chrome, selector: str) -> None:
    """Click on an element, and wait until the address holds another network."""
    before = page.current_url
    page.execute_script("document.querySelector(arguments[0]).click()", selector)
    WebDriverWait(page, 20, 0.01).until(lambda page: page.current_url != before)


STATE = """
const done = arguments[1], before = window.location.href;
const value = e => ({edit: e.dataset.edit, now: e.classList.contains("now"), over: e.classList.contains("over"),
                     disabled: e.disabled});
const told = () => ({
  network: new URL(window.location).searchParams.get("network"),
  macs: document.getElementById("macs").textContent,
  bytes: document.getElementById("bytes").textContent,
  fits: document.getElementById("verdict").classList.contains("fits"),
  values: [...document.querySelectorAll("#network-wide [data-edit], #blocks [data-edit]")].map(value),
});
const wait = () => window.location.href === before ? setTimeout(wait, 5) : requestAnimationFrame(() => done(told()));
if (!arguments[0]) done(told());
else { document.querySelector(`[data-edit="${arguments[0]}"]`).click(); wait(); }
"""
"""Clicks on a value, if one is given, and then gives all that the page shows of the network."""


def state(page: webdriver.Chrome, edit: str = "") -> dict[str, Any]:
    """What the page shows, after a click on the value of this edit."""
    told: dict[str, Any] = page.execute_async_script(STATE, edit)
    return told


def told_by_budget(network: Architecture, file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    file.write_text(network.to_json())
    capsys.readouterr()
    assert budget_main([str(file), "--json"]) in (0, 1)
    return json.loads(capsys.readouterr().out)


@pytest.mark.timeout(600)
def test_after_random_edits_the_page_says_what_budget_says(
    browser: webdriver.Chrome, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, rng, networks = opened(browser, address), np.random.default_rng(0), [TABLE1]
    shown = state(page)
    for number in range(EDITS):
        possible = [each["edit"] for each in shown["values"] if not (each["now"] or each["disabled"])]
        if len(networks[-1].blocks) > 8:
            possible = [each for each in possible if each.startswith("remove")]
        # two equal blocks change nothing when they change places
        changing = [each for each in possible if edited(networks[-1], each, SPACE) != networks[-1]]
        shown = state(page, changing[rng.integers(len(changing))])
        networks.append(Architecture.from_json(shown["network"]))
        told = told_by_budget(networks[-1], tmp_path / "network.json", capsys)
        assert [shown["macs"], shown["bytes"]] == [f"{told['macs']:,}", f"{told['bytes']:,}"]
        assert shown["fits"] == told["fits"]
        assert_marks_are_right(shown["values"][number % 5 :: 5], networks[-1])  # all would take half a minute
    assert errors(page) == []
    for before in reversed(networks[-21:-1]):
        click(page, "#undo")
        assert network(page) == before


def assert_marks_are_right(values: list[dict[str, Any]], network: Architecture) -> None:
    """Each of these values fits where it is shown as fitting, and else does not."""
    for each in values:
        if not (each["disabled"] or each["now"]):
            cost = totals(layers_of(edited(network, each["edit"], SPACE)))
            assert each["over"] != Limits().allow(bytes=cost.bytes, macs=cost.macs)


def test_the_address_opens_the_same_network_in_a_new_browser(
    browser: webdriver.Chrome, address: str, tmp_path: Path
) -> None:
    page = opened(browser, address)
    for edit in ("width_4=64", "pool=maximum", "add_6="):
        click(page, f'[data-edit="{edit}"]')
    for other in running_browser(tmp_path):
        assert network(opened(other, page.current_url)) == network(page)
        assert text(other, "macs") == text(page, "macs")


def test_undone_edits_can_be_done_again_by_keys(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    click(page, '[data-edit="dilation_1=3"]')
    changed, body = network(page), page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.CONTROL, "z")
    WebDriverWait(page, 20).until(lambda page: network(page) == TABLE1)
    body.send_keys(Keys.CONTROL, "y")
    WebDriverWait(page, 20).until(lambda page: network(page) == changed)
    assert not page.find_element(By.ID, "redo").is_enabled()


def test_what_had_the_focus_has_it_again_after_its_edit(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    before, value = page.current_url, page.find_element(By.CSS_SELECTOR, '#blocks [data-edit="width_4=64"]')
    value.send_keys(Keys.ENTER)
    WebDriverWait(page, 20).until(lambda page: page.current_url != before)
    focused = page.switch_to.active_element
    assert focused.get_attribute("data-edit") == "width_4=64"
    assert focused.get_attribute("aria-pressed") == "true"
    assert page.find_elements(By.CSS_SELECTOR, "#blocks :focus")


def test_edits_under_another_tab_show_in_the_blocks(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    click(page, '[data-edit="width_4=64"]')
    open_tab(page, "Where the cost goes")
    WebDriverWait(page, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, ".parts"))
    assert not page.find_element(By.ID, "blocks").is_displayed()
    click(page, "#undo")
    open_tab(page, "Edit")
    assert page.find_element(By.CSS_SELECTOR, '[data-edit="width_4=56"]').get_attribute("aria-pressed") == "true"


def test_what_the_space_lacks_can_be_typed_and_is_marked(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    typed(page, "channels_6", "50")
    assert network(page).blocks[5].expanded == 50
    assert "channels inside of block 6: 50." in text(page, "message")
    assert page.find_elements(By.CSS_SELECTOR, ".value.now.outside")
    typed(page, "stem", "4-20")
    assert network(page).stem == (4, 20)
    assert page.find_elements(By.CSS_SELECTOR, '.value.now.outside[data-edit="stem=4-20"]')


@pytest.mark.parametrize(
    ("entry", "text"), [("width_4", "wide"), ("input", "0x0"), ("classes", "1e9"), ("width_4", "")]
)
def test_what_gives_no_network_is_told_and_changes_nothing(
    browser: webdriver.Chrome, address: str, entry: str, text: str
) -> None:
    page = opened(browser, address)
    typed(page, entry, text, changes=False)
    WebDriverWait(page, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#message [role=alert]"))
    assert network(page) == TABLE1
    assert errors(page) == []


def typed(page: webdriver.Chrome, entry: str, text: str, *, changes: bool = True) -> None:
    """Type into a field; wait for another network where that is to be expected."""
    field, before = page.find_element(By.CSS_SELECTOR, f'[data-entry="{entry}"] input'), page.current_url
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text or Keys.DELETE, Keys.ENTER)
    if changes:
        WebDriverWait(page, 20).until(lambda page: page.current_url != before)


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1e400", "", "1,2,3", "٣"])
def test_limits_that_are_none_are_told(browser: webdriver.Chrome, address: str, limit: str) -> None:
    page = opened(browser, address)
    field = page.find_element(By.ID, "max-macs")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(limit or Keys.DELETE, Keys.ENTER)
    WebDriverWait(page, 20).until(lambda page: "limit of MACs" in text(page, "message"))
    assert "until then it is 30,000,000" in text(page, "message")


def test_a_limit_that_is_none_keeps_no_edit_from_being_answered_or_undone(
    browser: webdriver.Chrome, address: str
) -> None:
    page = opened(browser, address)
    field = page.find_element(By.ID, "max-bytes")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("x", Keys.ENTER)
    WebDriverWait(page, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#message [role=alert]"))
    before = text(page, "macs")
    click(page, '[data-edit="width_4=64"]')
    WebDriverWait(page, 20).until(lambda page: text(page, "macs") != before)
    click(page, "#undo")
    WebDriverWait(page, 20).until(lambda page: text(page, "macs") == before)


@pytest.mark.parametrize("link", ["%7B", "%7B%22blocks%22%3A%5B%5D%7D", "nothing"])
def test_a_damaged_link_is_told_and_the_page_works(browser: webdriver.Chrome, address: str, link: str) -> None:
    page = opened(browser, f"{address}/?network={link}")
    assert "The address holds no network" in text(page, "message")
    click(page, '[data-edit="width_4=64"]')
    assert network(page).blocks[3].out == 64
    assert not page.find_elements(By.CSS_SELECTOR, "#message [role=alert]")


def test_every_tab_can_be_reached_and_opened_by_keys(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    for _ in range(80):
        ActionChains(page).send_keys(Keys.TAB).perform()
        if page.execute_script("return document.activeElement.closest('#tab') !== null"):
            break
    for panel in ("cost", "compare", "take-along"):
        ActionChains(page).send_keys(Keys.ARROW_RIGHT).perform()
        WebDriverWait(page, 20).until(visibility_of_element_located((By.ID, f"panel-{panel}")))


def test_what_was_counted_is_gone_after_an_edit(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    page.find_element(By.ID, "count").click()
    WebDriverWait(page, 60).until(lambda page: "begin with its first 5" in text(page, "counted"))
    click(page, '[data-edit="remove_6="]')
    WebDriverWait(page, 20).until(lambda page: not text(page, "counted"))


def test_what_the_space_counts_in_one_way_alone_is_told(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    page.execute_script("dash_clientside.set_props('convention', {value: 'thop'})")
    WebDriverWait(page, 20).until(lambda page: "over by" in text(page, "verdict"))
    page.find_element(By.ID, "count").click()
    WebDriverWait(page, 20).until(lambda page: "which is dcase, and not as thop" in text(page, "message"))
    page.find_element(By.ID, "nearest").click()
    WebDriverWait(page, 60).until(lambda page: "fits, with" in text(page, "verdict"))
    page.execute_script("dash_clientside.set_props('convention', {value: 'as the dtype runs'})")


def test_table_1_is_halved_by_a_click_on_what_the_page_offers(browser: webdriver.Chrome, address: str) -> None:
    page = opened(browser, address)
    field = page.find_element(By.ID, "max-macs")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("15e6", Keys.ENTER)
    WebDriverWait(page, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#way-back [data-edit]"))
    assert "over by 13,938,900 MACs" in text(page, "verdict")  # 28,938,900 - 15,000,000
    offered = page.find_elements(By.CSS_SELECTOR, "#way-back [data-edit] span")
    assert [each.text for each in offered] == [
        f"shortcut, stride of block 1: {each} 2x2" for each in ("none", "pooled")
    ]
    click(page, "#way-back [data-edit]")
    WebDriverWait(page, 20).until(lambda page: "fits" in text(page, "verdict"))


def test_a_broken_file_is_told_and_a_good_one_opens(browser: webdriver.Chrome, address: str, tmp_path: Path) -> None:
    page, good, bad = opened(browser, address), tmp_path / "good.json", tmp_path / "bad.json"
    wider = TABLE1.__class__(TABLE1.blocks[:4], classes=7)
    good.write_text(wider.to_json())
    for broken in (b"{", b'{"blocks": []}', b"\xff\xfe\x00", b"[" * 100_000):
        bad.write_bytes(broken)
        page.find_element(By.CSS_SELECTOR, "#file input").send_keys(str(bad))
        WebDriverWait(page, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#message [role=alert]"))
        assert network(page) == TABLE1
    for _ in range(2):  # the same file opens again
        page.execute_script("document.querySelector('#file input').value = ''")  # as a click on the button does
        page.find_element(By.CSS_SELECTOR, "#file input").send_keys(str(good))
        WebDriverWait(page, 20).until(lambda page: network(page) == wider)
        click(page, '[data-edit="remove_1="]')
    bad.write_bytes(b" " * 6_000_000)
    page.find_element(By.CSS_SELECTOR, "#file input").send_keys(str(bad))
    WebDriverWait(page, 20).until(lambda page: "bad.json is too large" in text(page, "message"))
    long = TABLE1.__class__(TABLE1.blocks[:1] * 70)
    bad.write_text(long.to_json())
    page.execute_script("document.querySelector('#file input').value = ''")
    page.find_element(By.CSS_SELECTOR, "#file input").send_keys(str(bad))
    WebDriverWait(page, 20).until(lambda page: "but this one has 70" in text(page, "message"))
    assert errors(page) == []


def test_a_picture_of_it_is_taken_for_the_readme(browser: webdriver.Chrome, address: str, tmp_path: Path) -> None:
    page = opened(browser, address, (1_280, 1_060))
    picture = (frozen.FOLDER.parents[1] / "studies" / "design" if frozen.FREEZING else tmp_path) / "page.png"
    assert page.save_screenshot(str(picture))


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_fits_the_window_and_its_text_can_be_read(
    browser: webdriver.Chrome, address: str, size: tuple[int, int]
) -> None:
    page = opened(browser, address, size)
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
    small = (
        "return [...document.querySelectorAll('small, p, td, th')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 10).length"
    )
    assert page.execute_script(small) == 0
    assert errors(page) == []


def asked(address: str, path: str = "/", *, method: str = "GET", body: bytes = b"", host: str = "") -> tuple[int, str]:
    """The status and the text of an answer to a request, whose path is sent as it stands."""
    connection = HTTPConnection(urlparse(address).netloc, timeout=20)
    headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


def test_other_names_for_this_machine_large_requests_and_other_files_are_refused(address: str) -> None:
    assert asked(address)[0] == 200
    assert asked(address, host="evil.example")[0] == 400
    assert asked(address, host="[::1")[0] == 400
    assert asked(address, "/_dash-update-component", method="POST", body=b"x" * (5 << 20))[0] == 413
    for path in ("/assets/../app.py", "/assets/%2e%2e/app.py", "/../../../../../../etc/hostname"):
        assert "create_app" not in asked(address, path)[1]


def test_a_page_for_all_addresses_is_asked_for_by_address_but_by_no_name_elsewhere() -> None:
    app = create_app(TABLE1, Terms())
    with served(app, "0.0.0.0", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.port}"
        ours, others = ("192.0.2.7:80", "[2001:db8::1]", socket.gethostname()), ("a.example", "127.0.0.1.a.example")
        assert [asked(address, host=host)[0] for host in (*ours, *others)] == [200, 200, 200, 400, 400]
        assert "0.0.0.0" not in address_of(server)
        server.shutdown()
        thread.join()


def test_a_page_that_is_served_no_more_is_told(browser: webdriver.Chrome) -> None:
    with serving(create_app(TABLE1, Terms())) as address:
        page = opened(browser, address)
    page.execute_script("""document.querySelector('[data-edit="width_4=64"]').click()""")
    WebDriverWait(page, 20).until(lambda page: "start it again" in text(page, "message"))
    errors(page)  # Chromium names the request that was not answered


def test_the_page_needs_no_other_server(address: str) -> None:
    text = asked(address)[1]
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", text)


def test_a_port_in_use_is_told(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", str(urlparse(address).port)]) == 2
    assert "Address already in use; take another --port" in capsys.readouterr().err
    assert main(["--host", "192.0.2.7"]) == 2
    assert "take another --host" in capsys.readouterr().err
    assert main(["--storage", "sqlite:///x.db"]) == 2
    assert "add `--study NAME`" in capsys.readouterr().err


def test_ctrl_c_ends_it() -> None:
    command = [sys.executable, "-m", "nas.design", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "Open http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert "Stopped." in process.stderr.read() + process.stdout.read()
