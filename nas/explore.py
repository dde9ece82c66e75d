"""What the search space holds under limits, exactly, and what each choice of an architecture costs.

    python -m nas.explore                                    around Table 1
    python -m nas.explore studies/NAME/export/NAME-17.json   around another architecture
    python -m nas.explore --max-macs 10e6 --dtype int8
    python -m nas.explore --max-activation-bytes 400000      what the RAM holds too, in the dtype at inference
    python -m nas.explore --vary none                        networks that differ in their blocks alone

Prints how many networks fit, by number of blocks and by MACs, and for the architecture every single change: what it
costs and whether it fits. Draws both. The numbers are exact. Counting them takes four minutes on two cores in float16
with --vary none, about six times as long with all choices, and far longer in int8, once for each space and limits.
"""

import sys
from pathlib import Path

from budget.cli.command import CommandParser, add_limit_options, answering, limits_of, run
from budget.cli.terminal import console, show
from budget.dtypes import DEFAULT_DTYPE, DTYPES
from budget.errors import UserError
from dynacp.commands.options import add_cache_option, cache_errors
from dynacp.files import write_text
from dynacp.pictures import save_figure
from dynacp.student.architecture import TABLE1, resolve, with_classes
from nas.space.feasible import Feasible
from nas.space.network_wide import add_vary_option, varied
from nas.space.overview import margins, numbers_that_fit
from nas.space.space import Space
from nas.views.exploration import margins_figure, margins_table, numbers_table, space_figure


def parser() -> CommandParser:
    """The parser of `python -m nas.explore`."""
    parser = CommandParser(prog="python -m nas.explore", description=__doc__)
    add = parser.add_argument
    add("architecture", metavar="ARCH", nargs="?", default="table1", help="table1 (the default) or a JSON file")
    add_vary_option(add)
    add_limit_options(add)
    add("--dtype", choices=sorted(DTYPES), default=DEFAULT_DTYPE, help="default: %(default)s")
    add("--out", type=Path, default=Path("explore"), metavar="DIR", help="for pictures and CSV (default: %(default)s)")
    add_cache_option(add, "the exact numbers")
    return parser


@answering("Stopped; nothing was kept.")
def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's; `answering` makes it return an exit status."""
    options, out = parser().parse_args(arguments), console()
    architecture, limits = resolve(options.architecture), limits_of(options)
    space = Space(with_classes(TABLE1, architecture.classes), network_wide=varied(options))
    feasible = Feasible(space, limits, options.dtype)
    changes = margins(architecture, feasible)
    options.out.mkdir(parents=True, exist_ok=True)
    with cache_errors(options.cache):
        numbers = numbers_that_fit(feasible, options.cache, out)
    write_text(options.out / "single-changes.csv", changes.to_csv(index=False))
    write_text(options.out / "numbers.csv", numbers.to_csv(index_label="blocks"))
    show(out, numbers_table(numbers, feasible))
    show(out, margins_table(changes, options.architecture))
    if not numbers.sum(axis=None):
        raise UserError(f"nothing in the space fits {limits}; raise a limit.")
    name = options.architecture
    save_figure(space_figure(feasible, architecture, name), options.out / "space.png")
    save_figure(margins_figure(changes, feasible, architecture, name), options.out / "single-changes.png")
    out.print(f"{options.out}: numbers.csv, single-changes.csv, space.png, single-changes.png")


if __name__ == "__main__":
    sys.exit(run(main))
