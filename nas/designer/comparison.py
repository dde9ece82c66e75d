"""Two networks side by side: what differs, block by block and layer by layer."""

from contextlib import suppress
from itertools import zip_longest

from dash import html
from dash.development.base_component import Component

from dynacp.student.architecture import as_text
from nas.designer import study_panel
from nas.designer.details import part_of, table
from nas.designer.panels import SHORTCUTS
from nas.designer.watched import Watched
from nas.editing.edits import NETWORK_EDITS
from nas.editing.judged import Judged
from nas.study.settings import StudyError

_NOTATION = html.P(
    "A block reads (dilation)_shortcut, channels inside > channels out, stride along frequency x time; shortcuts are "
    f"{', '.join(f'{number} {name}' for number, name in SHORTCUTS.items())}.",
    className="soft",
)


def beside(pinned: Judged | None, now: Judged, watched: Watched | None) -> list[Component]:
    """The pinned network beside the one that is edited, with a mark on what differs.

    `watched` is the study that says which candidates they are and what to expect of them.
    """
    if pinned is None:
        return [html.P("Pin a network, then edit it or load another: both stand side by side here.")]
    verdicts = [(each.terms.limits.verdict(each.ledger, each.peak), each) for each in (pinned, now)]
    rows = []
    if watched:
        with suppress(StudyError):  # one that has vanished is told of elsewhere
            rows = [_row(watched.name, *(study_panel.known_as(watched, each.architecture) for each in (pinned, now)))]
            rows.append(_row("expected", *(study_panel.in_words(watched, each) for each in (pinned, now))))
    rows.append(_row("verdict", *(str(verdict) for verdict, _ in verdicts)))
    for name, unit in {"MACs": "macs", "bytes": "bytes"}.items():
        rows.append(_row(name, *(f"{getattr(each.ledger, unit):,}" for _, each in verdicts)))
    held = (f"{each.peak.bytes[each.terms.dtype]:,}" for each in (pinned, now))
    rows.append(_row("bytes of activations", *held))
    for name in NETWORK_EDITS:
        rows.append(_row(name, *(_field(each, name) for each in (pinned, now))))
    pairs = zip_longest(pinned.architecture.blocks, now.architecture.blocks, fillvalue="")
    rows += [_row(f"block {number}", *map(str, pair)) for number, pair in enumerate(pairs, start=1)]
    head = ("", "pinned", "this one")
    layers = html.Details([html.Summary("Layer by layer"), _apart(pinned, now, layers=True)])
    return [table(head, rows, "comparison"), _NOTATION, _apart(pinned, now, layers=False), layers]


def _field(judged: Judged, name: str) -> str:
    value = getattr(judged.architecture, name)
    return str(value) if isinstance(value, int) else as_text(value).replace("-", " x " if name == "input" else "-")


def _row(name: str, left: str, right: str) -> html.Tr:
    cells = [html.Td(left), html.Td(right)]
    return html.Tr([html.Th(name, scope="row"), *cells], className="" if left == right else "differs")


def _costs(judged: Judged, *, layers: bool) -> dict[str, tuple[int, int]]:
    """By part or by layer: its MACs and bytes."""
    told: dict[str, tuple[int, int]] = {}
    for row in judged.ledger.rows:
        name = row.name if layers else part_of(row)
        macs, size = told.get(name, (0, 0))
        told[name] = macs + row.macs, size + row.bytes
    return told


def _apart(pinned: Judged, now: Judged, *, layers: bool) -> html.Div:
    left, right = (_costs(each, layers=layers) for each in (pinned, now))
    rows = []
    for name in dict.fromkeys([*left, *right]):
        (macs, size), (macs_now, size_now) = left.get(name, (0, 0)), right.get(name, (0, 0))
        numbers = (
            f"{macs:,}",
            f"{macs_now:,}",
            f"{macs_now - macs:+,}",
            f"{size:,}",
            f"{size_now:,}",
            f"{size_now - size:+,}",
        )
        differs = (macs, size) != (macs_now, size_now)
        rows.append(
            html.Tr([html.Th(name, scope="row"), *map(html.Td, numbers)], className="differs" if differs else "")
        )
    head = ("", "MACs, pinned", "this one", "difference", "bytes, pinned", "this one", "difference")
    return table(head, rows, "apart")
