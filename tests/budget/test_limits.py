"""The verdict."""

from dataclasses import replace

import pytest

from budget.ledger import ledger
from budget.limits import Limits, Verdict
from budget.memory import peak
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from dynacp.student.layers import layers_of, steps_of

ON_89_FRAMES = replace(BASELINE, input=(256, 89))

HELD = 659_456
"""Bytes of activations of Table 1 in float16 (tests/budget/test_memory.py)."""


def verdict(limits: Limits, architecture: Architecture = TABLE1, *, dtype: str = "float16") -> Verdict:
    return limits.verdict(ledger(layers_of(architecture), dtype=dtype), peak(steps_of(architecture)))


def test_the_default_limits_are_the_challenge_s() -> None:
    assert Limits() == Limits(128_000, 30_000_000, None)


def test_a_network_that_fits_is_told_its_headroom() -> None:
    fitting = verdict(Limits())
    assert fitting.fits
    assert (fitting.macs_over, fitting.bytes_over) == (28_938_900 - 30_000_000, 123_288 - 128_000)
    assert fitting.activation_bytes_over is None
    assert str(fitting) == "fits, with 1,061,100 MACs and 4,712 bytes to spare"


def test_a_network_exactly_at_all_limits_fits_and_one_beyond_does_not() -> None:
    bytes, macs = 123_288, 28_938_900
    assert verdict(Limits(bytes, macs, HELD)).fits
    assert not verdict(Limits(bytes - 1, macs, HELD)).fits
    assert not verdict(Limits(bytes, macs - 1, HELD)).fits
    assert not verdict(Limits(bytes, macs, HELD - 1)).fits


def test_activations_are_limited_in_the_dtype_of_the_ledger() -> None:
    for dtype, size in {"float32": 4, "float16": 2, "int8": 1}.items():
        limits = Limits(max_bytes=1_000_000, max_activation_bytes=329_728 * size + 72)
        assert verdict(limits, dtype=dtype).activation_bytes_over == -72
        assert str(verdict(limits, dtype=dtype)).endswith(" bytes and 72 bytes of activations to spare")


def test_activations_over_their_limit_are_told_with_the_step_where_they_take_most() -> None:
    over = verdict(Limits(max_activation_bytes=600_000))
    assert not over.fits
    assert str(over) == "over by 59,456 bytes of activations; activations take most at blocks.1.pool"
    everything = str(verdict(Limits(100_000, 28_000_000, 600_000)))
    assert everything.startswith("over by 938,900 MACs, 23,288 bytes and 59,456 bytes of activations; activations take")
    assert "at blocks.1.pool; the costliest layers: " in everything


def test_the_blame_names_the_fewest_layers_that_make_up_the_excess() -> None:
    account, over = ledger(layers_of(ON_89_FRAMES)), verdict(Limits(), ON_89_FRAMES)
    assert over.macs_over == 9_526_036
    blamed = [row.macs for row in over.blame]
    assert sum(blamed) >= over.macs_over > sum(blamed[:-1])
    assert blamed == sorted((row.macs for row in account.rows), reverse=True)[: len(blamed)]
    assert "over by 9,526,036 MACs" in str(over)
    assert over.blame[0].name in str(over)


def test_both_limits_overstepped_are_both_reported() -> None:
    over = verdict(Limits(), ON_89_FRAMES, dtype="float32")
    assert "9,526,036 MACs and 116,592 bytes" in str(over)  # 4 x 61,148 - 128,000


def test_violations_are_shares_of_the_limit() -> None:
    assert Limits(100, 1_000).violations(bytes=150, macs=900) == pytest.approx({"bytes": 0.5, "macs": -0.1})
    shares = Limits(100, 1_000, 400).violations(bytes=150, macs=900, activation_bytes=500)
    assert shares == pytest.approx({"bytes": 0.5, "macs": -0.1, "activation_bytes": 0.25})


def test_limited_activations_that_are_not_given_are_an_error_and_not_zero() -> None:
    with pytest.raises(ValueError, match="activations have a limit"):
        Limits(100, 1_000, 400).allow(bytes=1, macs=1)
    with pytest.raises(ValueError, match="activations have a limit"):
        Limits(100, 1_000, 400).violations(bytes=1, macs=1)


def test_limits_are_told_and_stored_without_those_that_there_are_not() -> None:
    assert str(Limits(100, 2_000)) == "2,000 MACs and 100 bytes"
    assert str(Limits(100, 2_000, 4_000)) == "2,000 MACs, 100 bytes and 4,000 bytes of activations"
    assert Limits(100, 2_000).given == {"max_bytes": 100, "max_macs": 2_000}
    assert Limits(100, 2_000, 4_000).given == {"max_bytes": 100, "max_macs": 2_000, "max_activation_bytes": 4_000}


@pytest.mark.parametrize("name", ["max_bytes", "max_macs", "max_activation_bytes"])
def test_a_limit_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be positive, but got 0"):
        Limits(**{name: 0})
