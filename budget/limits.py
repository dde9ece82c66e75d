"""The limits a network must keep, and the verdict on one that does or does not."""

from dataclasses import dataclass
from typing import Any

from budget.errors import UserError
from budget.layers import Count
from budget.ledger import Ledger, Row


@dataclass(frozen=True)
class Limits:
    """What a network may cost at most; the defaults are those of DCASE 2025 Task 1.

    Raises `UserError` for a limit that is not positive.
    """

    max_bytes: int = 128_000
    """Bytes of parameters."""
    max_macs: int = 30_000_000
    """Multiply-accumulates for one second of audio."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_macs"):
            if getattr(self, name) <= 0:
                raise UserError(f"`{name}` must be positive, but got {getattr(self, name)}.")

    def violations(self, *, bytes: int, macs: int) -> dict[str, float]:
        """By how much each limit (`bytes`, `macs`) is exceeded, as a share of the limit: 0 or less where it is kept."""
        return {"bytes": bytes / self.max_bytes - 1, "macs": macs / self.max_macs - 1}

    def allow(self, *, bytes: Count, macs: Count) -> Any:
        """Whether both limits are kept: a bool, or a bool array [networks]. A cost equal to its limit keeps it."""
        return (bytes <= self.max_bytes) & (macs <= self.max_macs)

    def verdict(self, account: Ledger) -> "Verdict":
        """Whether a network keeps the limits, by how much, and which layers are to blame where it does not.

        Its bytes are those of the ledger, in the ledger's dtype.
        """
        return Verdict(
            bytes_over=account.bytes - self.max_bytes,
            macs_over=account.macs - self.max_macs,
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
    blame: tuple[Row, ...]
    """The fewest layers that together make up the excess, the costliest first; empty where the network fits."""

    @property
    def fits(self) -> bool:
        """Whether both limits are kept."""
        return self.bytes_over <= 0 and self.macs_over <= 0

    def __str__(self) -> str:
        if self.fits:
            return f"fits, with {-self.macs_over:,} MACs and {-self.bytes_over:,} bytes to spare"
        over = [f"{self.macs_over:,} MACs"] * (self.macs_over > 0) + [f"{self.bytes_over:,} bytes"] * (
            self.bytes_over > 0
        )
        return f"over by {' and '.join(over)}; the costliest layers: {', '.join(row.name for row in self.blame)}"
