"""What the page shows of a network as it is edited: its cost against the limits, its choices with their prices, the way
back inside. It is HTML, because Dash takes longer over hundreds of buttons than an edit may take.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from budget.conventions import CONVENTIONS, Convention, UnknownLayerError
from budget.ledger import Ledger, Row
from dynacp.student.architecture import PLAIN, TABLE1
from dynacp.student.receptive_field import receptive_fields
from nas.designer.details import in_bands_and_time
from nas.editing.edits import MOVES
from nas.editing.judged import Judged, Value

SHORTCUTS = {"1": "none", "2": "identity", "3": "pooled"}
"""By residual type, what its shortcut is called."""

LABELS = {
    "form": "shortcut, stride",
    "expansion": "channels inside",
    "channels": "channels inside",
    "width": "channels out",
}
"""What choices of a block are called where their own names say too little."""

SIGNS = {"add": "add", "duplicate": "copy", "up": "↑", "down": "↓", "remove": "remove"}
"""By what can be done with a block, the text on its button."""

MEANINGS = {
    "add": "add a block behind block {}",
    "duplicate": "duplicate block {}",
    "up": "move block {} up",
    "down": "move block {} down",
    "remove": "remove block {}",
}
"""By what can be done with a block, what that means."""


def parts(judged: Judged) -> dict[str, list[str]]:
    """By the id of a part of the page, its HTML for a network under terms, in pieces that change by themselves."""
    numbers = range(1, len(judged.architecture.blocks) + 1)
    return {
        "costs": [_filled("costs", judged)],
        "way-back": [_filled("way_back", judged)],
        "conventions": [_filled("conventions", judged)],
        "network-wide": [_filled("network_wide", judged)],
        "blocks": [_filled("front", judged), *(_filled("block", judged, number) for number in numbers)],
    }


def _filled(macro: str, *arguments: object) -> str:
    return str(getattr(_MACROS, macro)(*arguments))


def millions(number: int) -> str:
    """MACs in millions, such as `+1.25 M`; `0` for none at all."""
    return f"{number / 1e6:+.2f} M" if number else "0"


def thousands(number: int) -> str:
    """Bytes in thousands, such as `-1.3 kB`."""
    return f"{number / 1e3:+.1f} kB"


def price(value: Value) -> str:
    """What a value costs or frees, in words."""
    if not value.possible:
        return "gives no network"
    parts = [
        f"{value.more_macs:+,} MACs" if value.more_macs else "",
        f"{value.more_bytes:+,} bytes" if value.more_bytes else "",
        f"{value.more_activation_bytes:+,} bytes of activations" if value.more_activation_bytes else "",
    ]
    told = ", ".join(filter(None, parts)) or "costs nothing more"
    return f"{told}: {'fits' if value.fits else 'does not fit'}{'' if value.inside else '; outside the search space'}"


def label(kind: str) -> str:
    """What a choice is called on the page; `kind` is its name without a block's number."""
    return LABELS.get(kind, kind)


def in_words(value: Value) -> str:
    """What an edit changes, such as `channels out of block 4: 56`."""
    name, _, number = value.edit.partition("=")[0].partition("_")
    if name in MEANINGS:
        return "add a block in front" if value.edit == "add_0=" else MEANINGS[name].format(number)
    return f"{label(name)} of block {number}: {shown(value)}" if number else f"{label(name)}: {shown(value)}"


def shown(value: Value) -> str:
    """The text on a button: a form says its shortcut and its stride."""
    residual, _, stride = value.text.partition(" ")
    return f"{SHORTCUTS[residual]} {stride}" if value.edit.startswith("form_") else value.text


def button(value: Value, text: str) -> Markup:
    """A button for an edit, with its price. There are hundreds on a page, so it is made here: Jinja takes longer."""
    return _button(value[:-1], text)  # the network is not shown, and takes long to hash


@lru_cache(maxsize=10_000)
def _button(shown_of: tuple[Any, ...], text: str) -> Markup:
    value = Value._make((*shown_of, TABLE1))
    told = escape(f"{in_words(value)}: {'now' if value.chosen else price(value)}")
    marks = {"now": value.chosen, "over": not value.fits, "outside": not value.inside}
    if value.chosen:
        prices = [] if value.inside else ["outside"]
    else:
        prices = [millions(value.more_macs) if value.possible else "-"]
        prices += [thousands(value.more_bytes)] if value.more_bytes else []
    return Markup(
        f'<button type="button" data-edit="{escape(value.edit)}" title="{told}" aria-label="{told}" '
        f'aria-pressed="{"true" if value.chosen else "false"}" '
        f'class="{" ".join(["value", *(name for name, holds in marks.items() if holds)])}"'
        f"{'' if value.possible else ' disabled'}><span>{escape(text)}</span>"
        f"{''.join(f'<small>{each}</small>' for each in prices)}</button>"
    )


def under_each(judged: Judged) -> list[tuple[Convention, Ledger | None]]:
    """The network's cost under every convention; None under one that cannot count it."""
    told: list[tuple[Convention, Ledger | None]] = []
    for convention in CONVENTIONS.values():
        try:
            told.append((convention, judged.counted(convention)))
        except UnknownLayerError:
            told.append((convention, None))
    return told


def sees(judged: Judged, number: int) -> str:
    """What a position behind a block, numbered from 1, sees of the input, such as `31 bands, 120 ms`."""
    return in_bands_and_time(receptive_fields(judged.architecture)[number])


def rows_of(judged: Judged, number: int) -> list[Row]:
    """The rows of a block, numbered from 1, in the network's ledger."""
    return [row for row in judged.ledger.rows if row.name.startswith(f"blocks.{number}.")]


_ENVIRONMENT = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
_ENVIRONMENT.globals |= {
    "PLAIN": PLAIN, "button": button, "label": label, "signs": [SIGNS[move] for move in MOVES],
    "in_words": in_words, "shown": shown, "under_each": under_each, "rows_of": rows_of, "sees": sees,
}  # fmt: skip
_MACROS = _ENVIRONMENT.from_string(Path(__file__).with_name("parts.html").read_text(encoding="utf-8")).module
