"""Export a searched architecture: its JSON, its ledger, its table in the paper's form, its place among the candidates.

    python -m nas.export --study NAME                        the most accurate finalist
    python -m nas.export --study NAME --pick knee            the best trade of accuracy for MACs
    python -m nas.export --study NAME --pick 17 --max-macs 20e6

`best` and `knee` choose among the finalists of the race and the baseline if it fits, by their means; where the search
has not come that far, among the expected front. The JSON is read by `python -m budget` and by training.
"""

import shlex
import sys
from pathlib import Path

import numpy as np

from budget.cli.command import CommandParser, answering, run
from budget.ledger import Ledger, ledger
from budget.memory import peak
from dynacp.files import write_text
from dynacp.student import paper_table
from dynacp.student.layers import layers_of, steps_of
from nas.results.finalists import Finalist, finalists
from nas.study.candidate import Candidate
from nas.study.settings import StudyError
from nas.study.store import Store, add_study_options, opened_study


def pick(store: Store, choice: str, max_macs: float) -> Candidate:
    """The candidate that `choice` names (`best`, `knee` or its number), among those of at most `max_macs` MACs.

    `best` and `knee` choose among the finalists and the baseline if it fits, or the expected front where there are none
    yet. Raises `StudyError` for any other `choice`, and if no such candidate has so few MACs.
    """
    if choice not in ("best", "knee"):
        return _numbered(store, choice, max_macs)
    entries, best = finalists(store), store.front()
    expected = store.expected()
    scored = [(entry.candidate, entry.mean) for entry in entries if entry.candidate.fits]
    scored = scored or [(each, expected[each.number].merit) for each in best]
    scored = [(candidate, score) for candidate, score in scored if candidate.macs <= max_macs]
    if not scored:
        raise StudyError(f"no finalist has at most {max_macs:,.0f} MACs; raise `--max-macs` or search longer.")
    if choice == "best":
        return max(scored, key=lambda pair: pair[1])[0]
    return scored[_knee([candidate.macs for candidate, _ in scored], [score for _, score in scored])][0]


def _numbered(store: Store, choice: str, max_macs: float) -> Candidate:
    candidates = {str(candidate.number): candidate for candidate in store.candidates}
    if choice not in candidates:
        raise StudyError(
            f"`--pick` must be best, knee or a candidate from 0 to {len(candidates) - 1}, but got {choice!r}."
        )
    if candidates[choice].macs > max_macs:
        raise StudyError(f"candidate {choice} has {candidates[choice].macs:,} MACs, over `--max-macs` {max_macs:,.0f}.")
    return candidates[choice]


def _knee(macs: list[float], scores: list[float]) -> int:
    """The point farthest above the line from the cheapest to the best, both axes scaled to [0, 1]."""
    x, y = np.array(macs), np.array(scores)
    end = int(np.argmax(y))
    x = (x - x.min()) / max(x[end] - x.min(), 1)
    start = int(np.argmin(x))
    y = (y - y[start]) / max(y[end] - y[start], 1e-12)
    return int(np.argmax(y - x))


def standing(store: Store, candidate: Candidate, entries: list[Finalist]) -> str:
    """Sentences on how a candidate stands in the search, for people to read.

    They give its rank by merit among all candidates, and whether it is on the expected front; of a finalist also its
    accuracy when trained in full, against the baseline's. `entries` are as
    `nas.results.finalists.finalists` gives them.
    """
    rivals = store.candidates
    rank = 1 + sum(rival.merit > candidate.merit for rival in rivals)
    on_front = candidate.number in {each.number for each in store.front()}
    words = [
        f"Candidate {candidate.number}: rank {rank} of {len(rivals)} by search score ({candidate.accuracy:.2%} "
        f"accuracy after {candidate.samples:,} samples), {'on' if on_front else 'behind'} the expected front."
    ]
    for entry in entries:
        if entry.candidate.number == candidate.number:
            words.append(f"Trained in full: {entry.mean:.2%} ± {entry.deviation * 100:.2f} ({len(entry.accuracies)}).")
            if not np.isnan(entry.low):
                words.append(
                    f"Against {store.settings.baseline.name}: {entry.difference * 100:+.2f} points, 95 % interval "
                    f"[{entry.low * 100:+.2f}, {entry.high * 100:+.2f}]: {entry.verdict}."
                )
            return " ".join(words)
    return " ".join([*words, "No finalist of the race, so its score flatters."])


def export(store: Store, candidate: Candidate, folder: Path) -> tuple[list[Path], Ledger, str]:
    """Write a candidate's architecture as JSON, its ledger as CSV and its table as Markdown into `folder`.

    The files are named by study and candidate, such as NAME-17.json, NAME-17-ledger.csv and NAME-17.md. Returns their
    paths in this order, the ledger, and what `standing` says. Raises `OSError` for a folder that cannot be written.
    """
    architecture, settings = candidate.architecture, store.settings
    account = ledger(layers_of(architecture), dtype=settings.dtype)
    verdict = settings.limits.verdict(account, peak(steps_of(architecture)))
    rank = standing(store, candidate, finalists(store))
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{store.folder.name}-{candidate.number}"
    contents = {
        stem.with_name(f"{stem.name}.json"): architecture.to_json() + "\n",
        stem.with_name(f"{stem.name}-ledger.csv"): account.to_csv(),
        stem.with_name(f"{stem.name}.md"): (
            f"# {store.folder.name}, candidate {candidate.number}\n\n{rank}\n\n{account.macs:,} MACs, "
            f"{account.parameters:,} parameters, {account.bytes:,} bytes in {account.dtype}: {verdict} "
            f"(convention `{account.convention}`).\n\n{paper_table.markdown(architecture)}\n\n"
            "Input: mel bands x frames x channels.\n"
        ),
    }
    for path, text in contents.items():
        write_text(path, text)
    return list(contents), account, rank


@answering()
def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's; `answering` makes it return an exit status."""
    parser = CommandParser(prog="python -m nas.export", description=__doc__)
    add = parser.add_argument
    add_study_options(parser.add_argument)
    add("--pick", default="best", metavar="best|knee|N", help="which architecture (default: %(default)s)")
    add("--max-macs", type=float, default=float("inf"), metavar="X", help="no architecture above this")
    add("--out", type=Path, metavar="DIR", help="where to (default: studies/NAME/export)")
    options = parser.parse_args(arguments)
    with opened_study(options) as store:
        candidate = pick(store, options.pick, options.max_macs)
        paths, account, rank = export(store, candidate, options.out or store.folder / "export")
    print(f"{rank}\n\n{paper_table.markdown(candidate.architecture)}\n")
    print(f"{account.macs:,} MACs, {account.parameters:,} parameters, {account.bytes:,} bytes in {account.dtype}")
    architecture = shlex.quote(str(paths[0]))
    print(f"Row by row: python -m budget {architecture} --dtype {account.dtype}")
    print(f"Train it: python -m dynacp train {architecture} --set dtype={account.dtype}")
    for path in paths:
        print(path)


if __name__ == "__main__":
    sys.exit(run(main))
