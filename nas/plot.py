"""Pictures of a study: accuracy against MACs, hypervolume over trials, the importance of each choice.

    python -m nas.plot --study NAME

The search draws the first itself; this redraws it from the study and adds the others.
"""

import sys

from budget.cli.command import CommandParser, answering, run
from nas.results.importance import IMPORTANCE_TRIALS
from nas.study.store import add_study_options, opened_study
from nas.views.figures import draw_hypervolume, draw_importance, draw_pareto


@answering()
def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's; `answering` makes it return an exit status."""
    parser = CommandParser(prog="python -m nas.plot", description=__doc__)
    add_study_options(parser.add_argument)
    options = parser.parse_args(arguments)
    with opened_study(options) as store:
        for path in [*draw_pareto(store), *draw_hypervolume(store), *draw_importance(store)]:
            print(path)
    if len(store.candidates) < IMPORTANCE_TRIALS:
        print(f"importance: not drawn, {len(store.candidates)} trained trials are too few (from {IMPORTANCE_TRIALS})")


if __name__ == "__main__":
    sys.exit(run(main))
