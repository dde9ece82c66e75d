"""The description of a network."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import random_layouts

from dynacp.architecture import (
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


@given(st.integers(0, 10_000))
def test_json_round_trip_gives_the_same_network_and_the_same_text(seed: int) -> None:
    (architecture,) = random_layouts(1, seed=seed)
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert again.to_json() == architecture.to_json()
    assert again.key == architecture.key


def test_different_networks_have_different_keys() -> None:
    layouts = set(random_layouts(2_000, seed=0)) | set(NAMED.values())
    assert len({architecture.key for architecture in layouts}) == len(layouts)


def test_a_description_is_frozen_and_can_be_a_set_s_member() -> None:
    with pytest.raises(AttributeError):
        TABLE1.classes = 3  # type: ignore[misc]
    assert len({TABLE1, replace(TABLE1), BASELINE}) == 2


def test_the_table_reads_like_the_report_s() -> None:
    rows = TABLE1.table()
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
