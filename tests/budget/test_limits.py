"""The verdict."""

from dataclasses import replace

import pytest

from budget.ledger import ledger
from budget.limits import Limits
from dynacp.student.architecture import BASELINE, TABLE1
from dynacp.student.layers import layers_of

ON_89_FRAMES = replace(BASELINE, input=(256, 89))


def test_the_default_limits_are_the_challenge_s() -> None:
    assert (Limits().max_bytes, Limits().max_macs) == (128_000, 30_000_000)


def test_a_network_that_fits_is_told_its_headroom() -> None:
    verdict = Limits().verdict(ledger(layers_of(TABLE1)))
    assert verdict.fits
    assert (verdict.macs_over, verdict.bytes_over) == (28_938_900 - 30_000_000, 123_288 - 128_000)
    assert str(verdict) == "fits, with 1,061,100 MACs and 4,712 bytes to spare"


def test_a_network_exactly_at_both_limits_fits_and_one_beyond_does_not() -> None:
    account = ledger(layers_of(TABLE1))
    assert Limits(account.bytes, account.macs).verdict(account).fits
    assert not Limits(account.bytes - 1, account.macs).verdict(account).fits
    assert not Limits(account.bytes, account.macs - 1).verdict(account).fits


def test_the_blame_names_the_fewest_layers_that_make_up_the_excess() -> None:
    account = ledger(layers_of(ON_89_FRAMES))
    verdict = Limits().verdict(account)
    assert verdict.macs_over == 9_526_036
    blamed = [row.macs for row in verdict.blame]
    assert sum(blamed) >= verdict.macs_over > sum(blamed[:-1])
    assert blamed == sorted((row.macs for row in account.rows), reverse=True)[: len(blamed)]
    assert "over by 9,526,036 MACs" in str(verdict)
    assert verdict.blame[0].name in str(verdict)


def test_both_limits_overstepped_are_both_reported() -> None:
    verdict = Limits().verdict(ledger(layers_of(ON_89_FRAMES), dtype="float32"))
    assert "9,526,036 MACs and 116,592 bytes" in str(verdict)  # 4 x 61,148 - 128,000


def test_violations_are_shares_of_the_limit() -> None:
    assert Limits(100, 1_000).violations(bytes=150, macs=900) == pytest.approx({"bytes": 0.5, "macs": -0.1})


def test_a_limit_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"`max_macs` must be positive, but got 0"):
        Limits(max_macs=0)
