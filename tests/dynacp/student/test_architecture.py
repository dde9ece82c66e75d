"""The description of a network."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from architectures import random_architectures
from hypothesis import given
from hypothesis import strategies as st

from budget.ledger import totals
from dynacp.student.architecture import (
    BASELINE,
    IDENTITY,
    NAMED,
    PLAIN,
    POOLED,
    TABLE1,
    Architecture,
    ArchitectureError,
    Block,
    resolve,
)
from dynacp.student.layers import layers_of, table_of
from nas.space.counting import count

ANYTHING = st.recursive(
    st.sampled_from((None, True, 1.0, 2.0, "dpcp", "relu", "maximum", "depthwise", 10**12))
    | st.integers(-1, 400) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@given(st.integers(0, 10_000))
def test_json_round_trip_gives_the_same_network_and_the_same_text(seed: int) -> None:
    (architecture,) = random_architectures(1, seed=seed)
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert again.to_json() == architecture.to_json()
    assert again.key == architecture.key


def test_json_and_key_of_a_network_without_response_norms_are_as_before_there_were_any() -> None:
    """Studies and runs keep both."""
    assert TABLE1.key == "15c80c94db75"
    assert list(json.loads(TABLE1.to_json())) == [
        "blocks", "input", "classes", "stem", "family", "activation", "pool", "norm",
    ]  # fmt: skip
    responsive = replace(TABLE1, response="global")
    assert json.loads(responsive.to_json())["response"] == "global"
    assert Architecture.from_json(responsive.to_json()) == responsive
    assert responsive.key != TABLE1.key


def test_different_networks_have_different_keys() -> None:
    architectures = set(random_architectures(2_000, seed=0)) | set(NAMED.values())
    assert len({architecture.key for architecture in architectures}) == len(architectures)


def test_in_a_line_a_network_is_its_blocks_after_what_else_is_unlike_table_1() -> None:
    blocks = " | ".join(map(str, TABLE1.blocks))
    assert str(TABLE1) == str(replace(TABLE1, classes=3)) == blocks
    other = replace(TABLE1, stem=(16, 32), pool="maximum", norm="depthwise")
    assert str(other) == f"stem 16-32, pool maximum, norm depthwise | {blocks}"


def test_a_description_is_frozen_and_can_be_a_set_s_member() -> None:
    with pytest.raises(AttributeError):
        TABLE1.classes = 3  # type: ignore[misc]
    assert len({TABLE1, replace(TABLE1), BASELINE}) == 2


def test_the_table_reads_like_the_report_s() -> None:
    assert table_of(replace(TABLE1, response="global"))[2][1] == "DPCPBlock(2)_2, 64 expanded, GRN"
    rows = table_of(TABLE1)
    assert rows[0] == ("256 x 89 x 1", "Conv2D@3x3, BN, ReLU6", "2 x 2", "-")
    assert rows[1] == ("128 x 45 x 8", "Conv2D@3x3, BN, ReLU6", "2 x 2", "-")
    assert rows[2] == ("64 x 23 x 32", "DPCPBlock(2)_2, 64 expanded", "1 x 1", "2")
    assert rows[5] == ("32 x 12 x 32", "DPCPBlock(2)_1, 64 expanded", "1 x 1", "2")
    assert rows[-2:] == [
        ("16 x 12 x 104", "Conv2D@1x1, BN", "1 x 1", "-"),
        ("16 x 12 x 10", "Avg. Pool", "-", "-"),
    ]


def test_fields_left_out_of_json_take_their_defaults() -> None:
    text = '{"blocks": [{"expanded": 64, "out": 40}]}'
    assert Architecture.from_json(text) == Architecture(blocks=(Block(64, 40),))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"expanded": 0}, r"`expanded` must be a positive integer, but got 0"),
        ({"out": 2.5}, r"`out` must be a positive integer, but got 2.5"),
        ({"dilation": True}, r"`dilation` must be a positive integer, but got True"),
        ({"residual": 4}, r"`residual` must be one of 1, 2, 3, but got 4"),
        ({"residual": 2.0}, r"`residual` must be one of 1, 2, 3, but got 2.0"),
        ({"residual": True}, r"`residual` must be one of 1, 2, 3, but got True"),
        ({"stride": (1.0, 1)}, r"`stride` must be a positive integer, but got 1.0"),
        ({"expanded": 10**30}, r"`expanded` must be at most 100,000,000, but got 1000000"),
        ({"dilation": 1_025}, r"`dilation` must be at most 1,024, but got 1025"),
        ({"stride": (1,)}, r"`stride` must be a pair"),
        ({"stride": (1, 3)}, r"`stride` must be one of 1, 2, but got 3"),
        ({"residual": IDENTITY, "stride": (2, 1)}, r"`residual` 2 is the identity and needs stride \(1, 1\)"),
        ({"residual": POOLED}, r"`residual` 3 pools with the block's stride"),
    ],
)
def test_a_block_against_the_rules_is_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ArchitectureError, match=complaint):
        Block(**{"expanded": 64, "out": 32, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"blocks": ()}, "at least one block"),
        ({"blocks": (Block(64, 40, residual=IDENTITY),)}, "block 1: `residual` 2 adds the input"),
        ({"blocks": (Block(64, 40), Block(64, 32, residual=POOLED, stride=(2, 1)))}, "block 2: `residual` 3"),
        ({"family": "resnet"}, "`family` must be one of dpcp, cp"),
        ({"family": "cp"}, "`norm` must be 'depthwise' in the family 'cp'"),
        ({"pool": "mean"}, "`pool` must be one of average, maximum"),
        ({"activation": "gelu"}, "`activation` must be one of relu6, relu"),
        ({"input": (256, 0)}, "`input` must be a positive integer, but got 0"),
        ({"classes": -1}, "`classes` must be a positive integer"),
        ({"classes": True}, "`classes` must be a positive integer, but got True"),
        ({"classes": 10_000_000}, "`classes`: a network may have at most 100,000,000 weights"),
        ({"input": (100_000, 100_000)}, "`input` and `stem`: a layer may have at most 67,108,864 outputs"),
        (
            {"stem": (8, 20_000_000), "blocks": (Block(8, 32),)},
            "`input` and `stem`: a network may have at most 100,000,000 weights",
        ),
        (
            {"stem": (8, 200_000), "blocks": (Block(8, 32),)},
            "`input` and `stem`: a layer may have at most 67,108,864 outputs",
        ),
        ({"blocks": (Block(8, 32), Block(99_999_999, 32))}, "block 2: a network may have at most 100,000,000 weights"),
        ({"blocks": (Block(10_000, 200), Block(50_000, 200))}, "block 2: a layer may have at most 67,108,864 outputs"),
        ({"blocks": (Block(8, 32),) * 257}, "`blocks` must hold at most 256 blocks, but holds 257"),
    ],
)
def test_a_network_against_the_rules_is_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ArchitectureError, match=complaint):
        replace(TABLE1, **fields)  # type: ignore[arg-type]


def test_a_plain_block_may_keep_or_change_the_channels_at_any_stride() -> None:
    for out in (32, 40):
        for stride in ((1, 1), (2, 1), (1, 2), (2, 2)):
            Architecture(blocks=(Block(64, out, residual=PLAIN, stride=stride),))


def test_names_resolve_and_others_are_refused_with_the_names_there_are() -> None:
    assert resolve("table1") is TABLE1
    with pytest.raises(ArchitectureError, match="'table2' is neither a file nor one of table1, baseline"):
        resolve("table2")
    with pytest.raises(ArchitectureError, match=r"'x+\.\.\.x+' cannot be read \(File name too long\)"):
        resolve("x" * 5_000)


def architecture(*blocks: str, more: str = "") -> str:
    """JSON of a block that is right, these, and more fields of the network."""
    return f'{{"blocks": [{", ".join(("""{"expanded": 64, "out": 32}""", *blocks))}]{more}}}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (architecture(more=', "blocks": []'), "holds the name 'blocks' twice"),
        (architecture('{"expanded": 64, "out": 32, "expanded": 64}'), "holds the name 'expanded' twice"),
        (architecture('{"expanded": 64, "out": 32, "residual": 2.0}'), "block 2: `residual` must be one of"),
        (architecture('{"expanded": NaN, "out": 32}'), "NaN is no number of JSON"),
        (architecture('{"expanded": 1e999, "out": 32}'), "1e999 is too large"),
        (architecture(f'{{"expanded": {"9" * 4_000}, "out": 32}}'), "block 2: `expanded` must be at most 100,000,000"),
        (architecture('{"expanded": [64], "out": 32}'), r"block 2: `expanded` must be a positive .* but got \(64,\)"),
        (architecture('{"expanded": true, "out": 32}'), "block 2: `expanded` must be a positive integer, but got True"),
        (architecture("[64, 32]"), r"block 2: a block must be a JSON object, but got \[64, 32\]"),
        (architecture("{}"), "block 2: block: .*missing 2 required positional arguments"),
        (architecture("[" * 50_000), "nested too deeply"),
        (architecture(more=', "input": {"mels": 256}'), "`input` must be a pair of integers"),
        (architecture(more=', "input": [[256, 1], 89]'), "`input` must be a positive integer, but got"),
        (architecture(more=', "pool": ["average"]'), "`pool` must be one of average, maximum"),
        (architecture(more=r', "\u001b[2J\ud800": 1'), r"unknown field \\x1b\[2J\\ud800;"),
    ],
)
def test_json_that_describes_no_network_is_refused_in_a_short_line(text: str, complaint: str) -> None:
    with pytest.raises(ArchitectureError, match=complaint) as caught:
        Architecture.from_json(text)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


@given(st.data())
def test_whatever_stands_in_a_field_is_read_to_the_same_text_or_refused(data: st.DataObject) -> None:
    fields = asdict(TABLE1)
    place = data.draw(st.sampled_from([fields, *fields["blocks"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(ANYTHING)
    try:
        architecture = Architecture.from_json(json.dumps(fields))
    except ArchitectureError:
        return
    found = json.loads(architecture.to_json()) | {"response": architecture.response}  # none is left out
    assert found == json.loads(json.dumps(fields))
    assert [costs.tolist() for costs in count([architecture])] == [
        [cost] for cost in totals(layers_of(architecture))
    ], "64 bits hold it"


def test_a_file_with_a_byte_order_mark_is_the_same_network_and_a_folder_is_none(tmp_path: Path) -> None:
    file = tmp_path / "marked.json"
    file.write_text(TABLE1.to_json(), encoding="utf-8-sig")
    assert resolve(str(file)) == TABLE1
    with pytest.raises(ArchitectureError, match=r"cannot be read \(Is a directory\)"):
        resolve(str(tmp_path))
