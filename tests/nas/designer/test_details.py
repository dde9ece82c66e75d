"""Where a network's cost goes, and its forms to take along."""

import json
import shlex
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
from dash.development.base_component import Component

from budget.limits import Limits
from dynacp.__main__ import parser
from dynacp.overrides import changed
from dynacp.pipeline.plan import TrainingSettings
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from nas.designer import comparison, details
from nas.designer.links import to_text
from nas.editing.judged import Judged, Terms


def texts(parts: object) -> list[str]:
    """All texts of components, in order."""
    if isinstance(parts, str):
        return [parts]
    if isinstance(parts, Component):
        return texts(getattr(parts, "children", None))
    return [text for part in parts for text in texts(part)] if isinstance(parts, list | tuple) else []


@pytest.mark.parametrize("network", [TABLE1, BASELINE], ids=["table 1", "baseline"])
def test_what_is_taken_along_is_the_network(network: Architecture) -> None:
    judged = Judged(network, Terms())
    forms: list[Any] = details.take_along(judged)
    links = [form.children[1].children[1] for form in forms]
    saved = {link.download: unquote(link.href.partition(",")[2]) for link in links}
    assert Architecture.from_json(saved["network.json"]) == network
    ledger = pd.read_csv(StringIO(saved["network-ledger.csv"]))
    assert (ledger["macs"].sum(), ledger["bytes"].sum()) == (judged.ledger.macs, judged.ledger.bytes)
    assert "DynaCP" in saved["network.txt"]
    assert "tabular" in saved["network.tex"]


@pytest.mark.parametrize("network", [TABLE1, BASELINE], ids=["table 1", "baseline"])
def test_the_commands_are_for_the_page_s_limits_dtype_and_input(
    network: Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.json").write_text(network.to_json())
    terms = Terms(Limits(max_macs=20_000_000), "int8")
    budget, train, export, search = map(shlex.split, details.commands(Judged(network, terms)).splitlines())
    assert budget[-4:] == ["--max-macs", "20000000", "--dtype", "int8"]
    assert export[-1] == "int8"
    assert (search[0] == "#") == (network is BASELINE)
    options = parser().parse_args(train[3:])
    front_end = changed(TrainingSettings(), options.set).front_end
    assert (front_end.mels, front_end.frames(front_end.sample_rate)) == network.input
    assert details.commands(Judged(TABLE1, Terms())).count("--set") == 0


def test_the_parts_of_the_cost_add_up() -> None:
    judged = Judged(TABLE1, Terms())
    rows = texts(details.ledger(judged)[0])
    assert [text for text in rows if text.startswith("block")] == [f"block {number}" for number in range(1, 7)]
    shares = [float(text.rstrip("%")) for text in rows if text.endswith("%")]
    assert sum(shares[::2]) == pytest.approx(100, abs=0.5)
    assert sum(shares[1::2]) == pytest.approx(100, abs=0.5)
    assert "159 bands, 1,408 ms" in rows  # 118 hops of 500 and a window of 3,072 samples at 44,100 Hz


def test_only_what_differs_is_marked_side_by_side() -> None:
    wider = Architecture((*TABLE1.blocks[:5], TABLE1.blocks[4]), classes=TABLE1.classes)
    table = comparison.beside(Judged(TABLE1, Terms()), Judged(wider, Terms()), None)[0]
    body = table.children.children[1].children
    marked = [row.children[0].children for row in body if row.className == "differs"]
    assert marked == ["verdict", "MACs", "bytes", "block 6"]


@pytest.mark.parametrize("network", [TABLE1, BASELINE], ids=["table 1", "baseline"])
def test_the_text_in_an_address_is_json_of_the_same_network(network: Architecture) -> None:
    assert Architecture.from_json(to_text(network)) == network
    assert len(to_text(network)) < 700
    assert json.loads(to_text(TABLE1)).keys() == {"blocks"}
