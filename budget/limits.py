"""The limits a network must keep, and the verdict on one that does or does not."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from budget.errors import UserError
from budget.layers import Count
from budget.ledger import Ledger, Row
from budget.memory import Peak

MOST_NAMED = 6
"""The most layers that a verdict names."""


@dataclass(frozen=True)
class Limits:
    """What a network may cost at most; the defaults are those of DCASE 2025 Task 1.

    Raises `UserError` for a limit that is not positive. Methods that take `activation_bytes` raise `ValueError` where
    these have a limit and None are given.
    """

    max_bytes: int = 128_000
    """Bytes of parameters."""
    max_macs: int = 30_000_000
    """Multiply-accumulates for one second of audio."""
    max_activation_bytes: int | None = None
    """Bytes of activations at their peak for one clip (`budget.memory`), in the dtype at inference; None: no limit."""

    def __post_init__(self) -> None:
        for name, limit in self.given.items():
            if limit <= 0:
                raise UserError(f"`{name}` must be positive, but got {limit}.")

    @property
    def given(self) -> dict[str, int]:
        """The limits that there are, by name, as plain JSON: what has no limit has no entry."""
        return {name: limit for name, limit in asdict(self).items() if limit is not None}

    def __str__(self) -> str:
        """The limits in words, such as 30,000,000 MACs and 128,000 bytes."""
        units = {"max_macs": "MACs", "max_bytes": "bytes", "max_activation_bytes": "bytes of activations"}
        given = self.given
        return _listed(f"{given[name]:,} {unit}" for name, unit in units.items() if name in given)

    def violations(self, *, bytes: int, macs: int, activation_bytes: int | None = None) -> dict[str, float]:
        """By how much each limit is exceeded, as a share of the limit: 0 or less where it is kept.

        By name: `bytes`, `macs` and, where they have a limit, `activation_bytes`.
        """
        shares = {"bytes": bytes / self.max_bytes - 1, "macs": macs / self.max_macs - 1}
        if self.max_activation_bytes is not None:
            shares["activation_bytes"] = _given(activation_bytes) / self.max_activation_bytes - 1
        return shares

    def allow(self, *, bytes: Count, macs: Count, activation_bytes: Count | None = None) -> Any:
        """Whether all limits are kept: a bool, or a bool array [networks]. A cost equal to its limit keeps it."""
        kept = (bytes <= self.max_bytes) & (macs <= self.max_macs)
        if self.max_activation_bytes is not None:
            kept &= _given(activation_bytes) <= self.max_activation_bytes
        return kept

    def verdict(self, account: Ledger, activations: Peak) -> "Verdict":
        """Whether a network keeps the limits, by how much, and which layers are to blame where it does not.

        Its bytes are those of the ledger, and of its peak of activation memory, in the ledger's dtype. Raises
        `KeyError` where activations have a limit and that dtype is none of `budget.dtypes.DTYPES`.
        """
        limit = self.max_activation_bytes
        return Verdict(
            bytes_over=account.bytes - self.max_bytes,
            macs_over=account.macs - self.max_macs,
            activation_bytes_over=None if limit is None else activations.bytes[account.dtype] - limit,
            peak_at=activations.at,
            blame=tuple(self._blame(account)),
        )

    def _blame(self, account: Ledger) -> list[Row]:
        """The fewest layers that together make up the excess, the costliest first, for each limit overstepped."""
        blamed: list[Row] = []
        for quantity, limit in (("bytes", self.max_bytes), ("macs", self.max_macs)):
            excess = getattr(account, quantity) - limit
            for row in sorted(account.rows, key=lambda row: -getattr(row, quantity)):
                if excess <= 0:
                    break
                excess -= getattr(row, quantity)
                if row not in blamed:
                    blamed.append(row)
        return blamed


@dataclass(frozen=True)
class Verdict:
    """Whether a network keeps its limits, by how much, and which layers cost most where it does not."""

    bytes_over: int
    """Bytes beyond the limit; negative where some are left."""
    macs_over: int
    """MACs beyond the limit; negative where some are left."""
    activation_bytes_over: int | None
    """Bytes of activations at their peak beyond the limit, negative where some are left; None: they have no limit."""
    peak_at: str
    """The step at which activations take most memory."""
    blame: tuple[Row, ...]
    """The fewest layers that make up the excess of bytes and of MACs, the costliest first; empty where these fit."""

    @property
    def fits(self) -> bool:
        """Whether all limits are kept."""
        return max(self._over.values()) <= 0

    @property
    def _over(self) -> dict[str, int]:
        """What is beyond each limit, by unit."""
        over = {"MACs": self.macs_over, "bytes": self.bytes_over}
        if self.activation_bytes_over is not None:
            over["bytes of activations"] = self.activation_bytes_over
        return over

    def __str__(self) -> str:
        if self.fits:
            return f"fits, with {_listed(f'{-over:,} {unit}' for unit, over in self._over.items())} to spare"
        where = [f"activations take most at {self.peak_at}"] * ((self.activation_bytes_over or 0) > 0)
        names = [row.name for row in self.blame]
        more = f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED)
        costliest = [f"the costliest layers: {', '.join(names[:MOST_NAMED])}{more}"] * bool(names)
        excess = _listed(f"{over:,} {unit}" for unit, over in self._over.items() if over > 0)
        return "; ".join([f"over by {excess}", *where, *costliest])


def _given(activation_bytes: Any) -> Any:
    if activation_bytes is None:
        raise ValueError("activations have a limit, but their bytes are not given.")
    return activation_bytes


def _listed(words: Iterable[str]) -> str:
    """One or more in a row: a; a and b; a, b and c."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
