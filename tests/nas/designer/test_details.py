"""Where a network's cost goes, and its forms to take along."""

import json
from io import StringIO
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
from dash.development.base_component import Component

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
    table = comparison.beside(Judged(TABLE1, Terms()), Judged(wider, Terms()))[0]
    body = table.children.children[1].children
    marked = [row.children[0].children for row in body if row.className == "differs"]
    assert marked == ["verdict", "macs", "bytes", "block 6"]


@pytest.mark.parametrize("network", [TABLE1, BASELINE], ids=["table 1", "baseline"])
def test_the_text_in_an_address_is_json_of_the_same_network(network: Architecture) -> None:
    assert Architecture.from_json(to_text(network)) == network
    assert len(to_text(network)) < 700
    assert json.loads(to_text(TABLE1)).keys() == {"blocks"}
