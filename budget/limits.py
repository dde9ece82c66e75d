"""The limits a network must keep, and the verdict on one that does or does not."""

from dataclasses import dataclass
from typing import Any

from budget.errors import UserError
from budget.layers import Count
from budget.ledger import Ledger, Row


@dataclass(frozen=True)
class Limits:
    """What a network may cost; the defaults are those of DCASE 2025 Task 1 for one second of audio."""

    max_bytes: int = 128_000
    max_macs: int = 30_000_000

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_macs"):
            if getattr(self, name) <= 0:
                raise UserError(f"`{name}` must be positive, but got {getattr(self, name)}.")

    def violations(self, *, bytes: int, macs: int) -> dict[str, float]:
        """How far each limit is overstepped, as a share of the limit: at most 0 where it is kept."""
        return {"bytes": bytes / self.max_bytes - 1, "macs": macs / self.max_macs - 1}

    def allow(self, *, bytes: Count, macs: Count) -> Any:
        """Whether both limits are kept, for one network or for arrays of them; exactly at a limit is kept."""
        return (bytes <= self.max_bytes) & (macs <= self.max_macs)

    def verdict(self, account: Ledger) -> "Verdict":
        """Whether a network keeps the limits, by how much, and which layers are to blame where it does not."""
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
    """By how much each limit is overstepped (negative: headroom), and the layers that cost most there."""

    bytes_over: int
    macs_over: int
    blame: tuple[Row, ...]

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
