"""The page of a search, as one HTML file that needs no other file and no network."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from dynacp.files import write_text
from nas.results.fidelity import as_text, conclusion, of_study
from nas.results.finalists import NOTE_ON_THE_RACE, Finalist, finalists, hypervolume_history, what_it_would_take
from nas.results.importance import IMPORTANCE_TRIALS
from nas.study.posterior import how_ranked
from nas.study.store import Store
from nas.views import charts
from nas.views.colours import BASELINE_COLOUR, FRONT_COLOUR


def write_page(store: Store, command: str) -> Path:
    """Write the page to report.html in the study's folder; returns its path. `command` is shown as what resumes it.

    Raises `OSError` for a folder that cannot be written.
    """
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    path = store.folder / "report.html"
    write_text(path, template.render(command=command, **_content(store)))
    return path


def _content(store: Store) -> dict[str, Any]:
    settings, entries, checked = store.settings, finalists(store), of_study(store)
    return {
        "name": store.folder.name,
        "colours": {"front": FRONT_COLOUR, "baseline": BASELINE_COLOUR},
        "identity": settings.identity,
        "limits": {
            "macs": f"{settings.limits.max_macs / 1e6:g} million MACs",
            "bytes": f"{settings.limits.max_bytes:,} bytes",
            "activations": f"{most:,} bytes" if (most := settings.limits.max_activation_bytes) else "",
        },
        "baseline": settings.baseline,
        "verdict": verdict(store, entries),
        "facts": _facts(store),
        "plots": {
            "front": charts.front(store, entries),
            "growth": charts.growth(store),
            "fidelity": "" if checked.empty else charts.fidelity(checked),
            "importance": charts.importance(store) if len(store.candidates) >= IMPORTANCE_TRIALS else "",
        },
        "finalists": [_row(entry) for entry in entries],
        "note": NOTE_ON_THE_RACE,
        "ranked": how_ranked(store.finished()),
        "fidelity": list(map(as_text, checked.to_dict("records"))),
        "trust": conclusion(checked, short=settings.samples),
        "more": what_it_would_take(store, entries),
        "proposals": _proposals(store),
        "readers": IMPORTANCE_TRIALS,
        "settings": _settings(store),
    }


def verdict(store: Store, entries: list[Finalist]) -> str:
    """A sentence on what the search has proved; `entries` are as `nas.results.finalists.finalists` gives them."""
    baseline = store.settings.baseline.name
    rivals = [entry for entry in entries if entry.verdict != "the baseline"]
    if not rivals:
        return f"Nothing is decided yet: no architecture was trained in full beside {baseline}."
    if proved := [entry for entry in rivals if entry.holds]:
        best = max(proved, key=lambda entry: (entry.verdict == "better", entry.mean))
        return (
            f"{best.candidate.name} is {_in_words(best, baseline)}: {best.difference * 100:+.1f} points "
            f"[{best.low * 100:+.1f}, {best.high * 100:+.1f}] at {best.candidate.macs / 1e6:.1f} million MACs."
        )
    near = max(rivals, key=lambda entry: entry.low)
    return (
        f"No architecture is proved better than {baseline}, or as good for fewer MACs; {near.candidate.name} comes "
        f"nearest, {near.difference * 100:+.1f} points [{near.low * 100:+.1f}, {near.high * 100:+.1f}] at "
        f"{near.candidate.macs / 1e6:.1f} million MACs."
    )


def _in_words(entry: Finalist, baseline: str) -> str:
    if entry.verdict == "better":
        return f"better than {baseline}"
    return f"not worse than {baseline} by more than {entry.margin * 100:g} points, {entry.cost}"


def _facts(store: Store) -> list[dict[str, str]]:
    results = store.results()
    samples = sum(each.samples for each in store.candidates)
    facts = {
        "candidates": f"{len(results):,}",
        "on the front": f"{results['front'].sum():,}",
        "training samples": f"{samples:,}",
        "hours of training": f"{results['seconds'].sum() / 3600:.2g}",
        "hypervolume": f"{hypervolume_history(store)['hypervolume'].iloc[-1]:.3f}",
    }
    return [{"name": name, "value": value} for name, value in facts.items()]


def _proposals(store: Store) -> str:
    results = store.results()
    refused = {name: int(results[name].sum()) for name in ("rejected", "duplicates")}
    proposals = len(results) + sum(refused.values())
    return (
        f"{proposals:,} proposals: {refused['rejected']:,} did not fit and were rejected by the exact count before "
        f"anything was built, {refused['duplicates']:,} were known, {len(results):,} were trained. "
        f"{1 - refused['rejected'] / proposals:.0%} of the proposals fit."
    )


def _settings(store: Store) -> dict[str, str]:
    settings, identity = store.settings.content, store.settings.identity
    space, recipe = identity["space"], identity["score"]["recipe"]
    clips = settings["clips"]
    return {
        "data": f"{identity['data']}: {clips['training']:,} training and {clips['validation']:,} validation clips, "
        f"{len(settings['classes'])} classes",
        "space": f"{space['min_blocks']} to {space['max_blocks']} blocks; dilations {_listed(space['dilations'])}; "
        f"expansions {_listed(space['expansions'])}; widths {_listed(space['widths'])}"
        + "".join(f"; {name} {_listed(values)}" for name, values in store.settings.network_wide.items()),
        "sampler, seed": f"{identity['sampler']}, {identity['seed']}",
        "a trial": f"{store.settings.samples:,} training samples in batches of {recipe['batch']}, "
        f"peak rate {recipe['peak_rate']}",
        "teachers": _flat(identity["teachers"]),
        "their fingerprints": _listed(store.teachers()),
        "threads": str(settings["threads"]),
        "versions": ", ".join(f"{name} {version}" for name, version in settings["versions"].items()),
    }


def _listed(values: Any) -> str:
    return ", ".join(map(str, values)) or "none yet"


def _flat(settings: dict[str, Any]) -> str:
    """Nested settings in a line."""
    inner = {name: f"({_flat(value)})" if isinstance(value, dict) else value for name, value in settings.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in inner.items())


def _row(entry: Finalist) -> dict[str, Any]:
    candidate = entry.candidate
    return {
        "baseline": entry.verdict == "the baseline",
        "name": candidate.name,
        "mmacs": f"{candidate.macs / 1e6:.2f}",
        "kilobytes": f"{candidate.bytes / 1e3:.1f}",
        "score": f"{candidate.accuracy:.1%}",
        "mean": f"{entry.mean:.1%} ± {entry.deviation * 100:.1f}",
        "difference": entry.in_points,
        "verdict": entry.verdict,
        "layout": candidate["layout"],
    }
