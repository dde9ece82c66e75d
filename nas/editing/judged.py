"""What a network costs under chosen terms, and for every choice of it which values still fit, at which price."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from budget.conventions import CONVENTIONS, Convention
from budget.dtypes import DEFAULT_DTYPE, dtype_named
from budget.errors import UserError
from budget.ledger import Ledger, ledger
from budget.limits import Limits, Verdict
from budget.memory import Peak, peak
from dynacp.student.architecture import BASELINE, PLAIN, TABLE1, Architecture, Block, as_text
from dynacp.student.layers import layers_of, steps_of
from nas.editing.edits import MOVES, edited, entering
from nas.space.counting import count, limited_activation_bytes
from nas.space.network_wide import EVERY
from nas.space.space import FORMS, Space, expanded_channels


@dataclass(frozen=True)
class Terms:
    """What a network is judged by.

    `dtype` is a name of `budget.dtypes.DTYPES`, `convention` one of `budget.conventions.CONVENTIONS`. Raises
    `UserError` for others.
    """

    limits: Limits = field(default_factory=Limits)
    dtype: str = DEFAULT_DTYPE
    convention: str = ""
    """Empty for the dtype's own."""

    def __post_init__(self) -> None:
        dtype_named(self.dtype)
        if self.convention not in ("", *CONVENTIONS):
            raise UserError(
                f"the convention must be one of {', '.join(CONVENTIONS)}, but got {self.convention[:80]!r}."
            )

    @property
    def rule(self) -> Convention:
        """The convention that MACs are counted by."""
        return CONVENTIONS[self.convention] if self.convention else dtype_named(self.dtype).convention


class _Wanted(NamedTuple):
    edit: str
    text: str
    chosen: bool
    inside: bool


_FRONT = _Wanted("add_0=", "add", False, True)


class Value(NamedTuple):
    """One value of a choice, or one thing that can be done with a block."""

    edit: str
    """For `nas.editing.edits.edited`."""
    text: str
    """The value, for people."""
    chosen: bool
    """Whether the network has it now."""
    inside: bool
    """Whether the search space has it."""
    possible: bool
    """Whether it gives a network."""
    fits: bool
    """Whether the network with it keeps the limits."""
    more_macs: int
    """MACs of the network with it, less those of the network now."""
    more_bytes: int
    """The same of bytes."""
    more_activation_bytes: int | None
    """The same of activations at their peak, in the terms' dtype; None where these have no limit."""
    network: Architecture
    """The network with it; where it gives none, the one now."""


class Choice(NamedTuple):
    """A choice of the network or of one of its blocks, with its values."""

    name: str
    """As in edits, such as `width_4`."""
    values: tuple[Value, ...]


@lru_cache(maxsize=32)
def space_around(architecture: Architecture) -> Space:
    """The search's space for networks with the input, the classes and the family of this one.

    Where that input leaves no such space, it is the one of Table 1's input, which then does not hold the network.
    """
    try:
        if architecture.family == "cp":
            return Space(replace(architecture, stem=TABLE1.stem, blocks=BASELINE.blocks[:1]))
        return Space(replace(TABLE1, input=architecture.input, classes=architecture.classes), network_wide=EVERY)
    except UserError:
        return Space(network_wide=EVERY)


class Judged:
    """A network under terms; everything is computed when first asked for.

    Raises `UserError` for a network that the convention cannot count.
    """

    def __init__(self, architecture: Architecture, terms: Terms) -> None:
        self.architecture, self.terms = architecture, terms

    @cached_property
    def space(self) -> Space:
        """The search space around it."""
        return space_around(replace(self.architecture, blocks=BASELINE.blocks[:1], stem=BASELINE.stem))

    @cached_property
    def outside(self) -> str:
        """Why the search cannot propose it: what of it the space does not hold. Empty where it can."""
        try:
            self.space.encode(self.architecture)
        except UserError as error:
            return str(error)
        return ""

    @cached_property
    def ledger(self) -> Ledger:
        """Its cost, layer by layer, by the terms' convention."""
        return self.counted(self.terms.rule)

    def counted(self, convention: Convention) -> Ledger:
        """Its cost, layer by layer, by another convention; raises `UnknownLayerError` where that has no rule."""
        return ledger(layers_of(self.architecture), convention=convention, dtype=self.terms.dtype)

    @cached_property
    def peak(self) -> Peak:
        """Where its activations take most memory."""
        return peak(steps_of(self.architecture))

    def verdict(self, account: Ledger) -> Verdict:
        """Whether it keeps the limits, by a ledger that `counted` gives."""
        return self.terms.limits.verdict(account, self.peak)

    @cached_property
    def network_choices(self) -> tuple[Choice, ...]:
        """Its network-wide choices, each with the space's values and its own."""
        return self._all[0]

    @cached_property
    def front(self) -> Value:
        """A new block in front of the first."""
        return self._all[2]

    @cached_property
    def block_choices(self) -> tuple[tuple[Choice, ...], ...]:
        """For each block its choices, the last being what can be done with the whole block."""
        return self._all[1]

    @property
    def chosen(self) -> list[Value]:
        """The values that it has now, of all choices."""
        values = (each for choices in (self.network_choices, *self.block_choices) for each in choices)
        return [value for choice in values for value in choice.values if value.chosen]

    @cached_property
    def fitting(self) -> list[Value]:
        """All single edits that fit, the nearest first: those that change bytes and MACs least, as shares of limits.

        Of several that give the same network there is one.
        """
        limits = self.terms.limits
        values = [
            value for choices in (self.network_choices, *self.block_choices) for _, each in choices for value in each
        ]
        found = {value.network: value for value in (self.front, *values) if value.fits and not value.chosen}
        return sorted(
            found.values(),
            key=lambda value: abs(value.more_macs) / limits.max_macs + abs(value.more_bytes) / limits.max_bytes,
        )

    @cached_property
    def _all(self) -> tuple[tuple[Choice, ...], tuple[tuple[Choice, ...], ...], Value]:
        groups = _choices(self.architecture, self.space)
        judged = iter(self._judged([*_flat(groups), _FRONT]))
        told = [
            tuple(Choice(name, tuple(next(judged) for _ in values)) for name, values in group.items())
            for group in groups
        ]
        return told[0], tuple(told[1:]), next(judged)

    def _judged(self, wanted: Sequence[_Wanted]) -> Iterator[Value]:
        """What each edit costs; an edit that gives no network leaves this one as it is, and does not fit."""
        here, terms = self.architecture, self.terms
        networks = [_network(here, each, self.space) for each in wanted]
        counted = [here, *(each or here for each in networks)]
        costs = count(counted, convention=terms.rule, dtype=terms.dtype)
        held = limited_activation_bytes(terms.limits, counted, dtype=terms.dtype)
        fits = terms.limits.allow(bytes=costs.bytes, macs=costs.macs, activation_bytes=held)
        more = zip(
            fits[1:].tolist(),
            (costs.macs[1:] - costs.macs[0]).tolist(),
            (costs.bytes[1:] - costs.bytes[0]).tolist(),
            [None] * len(networks) if held is None else (held[1:] - held[0]).tolist(),
            strict=True,
        )
        for each, network, (keeps, macs, size, alive) in zip(wanted, networks, more, strict=True):
            possible = network is not None
            yield Value(*each, possible, possible and keeps, macs, size, alive, network or here)


def after_one_edit(here: Architecture, space: Space) -> Iterator[Architecture]:
    """The networks that single edits, to values of the space or of this network, make of this one."""
    for each in (_FRONT, *_flat(_choices(here, space))):
        if not each.chosen and (network := _network(here, each, space)) is not None:
            yield network


def _network(here: Architecture, wanted: _Wanted, space: Space) -> Architecture | None:
    try:
        return here if wanted.chosen else edited(here, wanted.edit, space)
    except UserError:
        return None


def _flat(groups: list[dict[str, list[_Wanted]]]) -> list[_Wanted]:
    """All values of the choices that `_choices` gives, in order."""
    return [each for values in groups for of_choice in values.values() for each in of_choice]


def _choices(here: Architecture, space: Space) -> list[dict[str, list[_Wanted]]]:
    """The network-wide choices, and those of each block; by name the values of each."""
    numbers = range(1, len(here.blocks) + 1)
    return [_network_values(here, space), *(_block_values(here, number, space) for number in numbers)]


def _network_values(here: Architecture, space: Space) -> dict[str, list[_Wanted]]:
    """The network-wide choices: those that the search knows, and what only an edit sets."""
    known = {**space.network_wide.searched, "family": ("dpcp", "cp")}
    told = dict[str, list[_Wanted]]()
    for name in ("stem", "activation", "pool", "norm", "response", "family"):
        now = as_text(getattr(here, name))
        values = list(dict.fromkeys([*known.get(name, ()), now]))
        told[name] = [_Wanted(f"{name}={text}", text, text == now, text in known.get(name, (now,))) for text in values]
    return told


def _block_values(here: Architecture, number: int, space: Space) -> dict[str, list[_Wanted]]:
    """The choices of a block, and what can be done with it."""
    block, channels = here.blocks[number - 1], entering(here)[number - 1]
    told = {
        f"dilation_{number}": _values(f"dilation_{number}", space.dilations, block.dilation),
        f"form_{number}": [_Wanted(f"form_{number}={text}", text, text == block.form, True) for text in FORMS],
        f"expansion_{number}": _expansions(number, channels, block, space),
        f"width_{number}": _values(f"width_{number}", space.widths if block.residual == PLAIN else (), block.out),
    }
    told["block"] = [_Wanted(f"{move}_{number}=", move, False, True) for move in MOVES]
    return told


def _values(name: str, known: Sequence[int], now: int) -> list[_Wanted]:
    inside = now in known or not known
    values = sorted({*known, now})
    return [_Wanted(f"{name}={each}", str(each), each == now, each in known or inside) for each in values]


def _expansions(number: int, channels: int, block: Block, space: Space) -> list[_Wanted]:
    """Expansions, each once where several give the same channels, which are their texts."""
    known = {int(expanded_channels(channels, each)): each for each in reversed(space.expansions)}
    told = {expanded: f"expansion_{number}={each:g}" for expanded, each in known.items()}
    edits = {block.expanded: f"channels_{number}={block.expanded}", **told}
    return [
        _Wanted(edit, str(expanded), expanded == block.expanded, expanded in known)
        for expanded, edit in sorted(edits.items())
    ]
