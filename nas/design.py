"""Design a network by hand: a page on which every edit shows at once what it costs and what still fits.

    python -m nas.design                                     starts with Table 1
    python -m nas.design studies/NAME/export/NAME-17.json    or with another network
    python -m nas.design --max-macs 15e6 --dtype int8
    python -m nas.design --study tau                         beside the candidates of a search, finished or running,
                                                             with its limits and dtype unless others are given

Open the address that it prints in a browser. The address bar there holds the network, so a link to it opens the same
one. The page is served to this machine alone, unless --host says otherwise, and everything on it is computed here, by
the counter of `python -m budget`. ^C ends it.
"""

import argparse
import sys
from dataclasses import fields, replace
from socketserver import BaseServer
from typing import TYPE_CHECKING

from budget.cli.command import (
    CommandParser,
    add_limit_options,
    add_whole_number,
    answering,
    run,
    whole_number,
)
from budget.cli.terminal import console
from budget.dtypes import DEFAULT_DTYPE, DTYPES
from budget.errors import UserError
from budget.limits import Limits
from dynacp.student.architecture import resolve, with_classes
from nas.editing.judged import Terms

if TYPE_CHECKING:
    from nas.designer.watched import Watched


def parser() -> CommandParser:
    """The parser of `python -m nas.design`."""
    parser = CommandParser(prog="python -m nas.design", description=__doc__)
    add = parser.add_argument
    add(
        "architecture",
        metavar="ARCH",
        nargs="?",
        default="table1",
        help="table1 (the default), baseline (the DCASE baseline), or a JSON file",
    )
    add("--classes", type=whole_number(1), metavar="N", help="classes of the network (default: those that it has)")
    add("--study", metavar="NAME", help="a search to look into, under studies/; it is only read")
    add("--storage", metavar="URL", help="where it is kept, if not in SQLite in studies/NAME")
    add_limit_options(add)
    add("--dtype", choices=sorted(DTYPES), help=f"default: {DEFAULT_DTYPE}")
    parser.set_defaults(max_macs=None, max_bytes=None)  # then the study's, if there is one
    add("--host", default="127.0.0.1", metavar="NAME", help="address to listen on (default: %(default)s)")
    add_whole_number(add, "--port", 8050, "to listen on; 0: any that is free", lowest=0, highest=65_535)
    return parser


@answering("Stopped.")
def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's; `answering` makes it return an exit status."""
    options, out = parser().parse_args(arguments), console()
    from nas.designer.app import create_app  # takes a second
    from nas.designer.server import address_of, served
    from nas.designer.watched import Watched

    start = resolve(options.architecture)
    if options.classes:
        start = with_classes(start, options.classes)
    if options.storage and not options.study:
        raise UserError("`--storage` says where a study is kept: add `--study NAME`.")
    watched = Watched(options.study, options.storage) if options.study else None
    # Reading takes three seconds for 10,000 candidates.
    with out.status(f"Reading {options.study} ..." if watched else "Starting ..."):
        app = create_app(start, terms_asked(options, watched), watched)
    with served(app, options.host, options.port) as server:
        out.print(f"Open {address_of(server)} in a browser; ^C ends.")
        BaseServer.serve_forever(server)  # werkzeug's own would take ^C for a regular end


def terms_asked(options: argparse.Namespace, watched: "Watched | None") -> Terms:
    """What the options say, and where they say nothing the study's terms, or else the usual ones."""
    usual = watched.terms if watched else Terms()
    given = {field.name: getattr(options, field.name) for field in fields(Limits)}
    limits = replace(usual.limits, **{name: limit for name, limit in given.items() if limit is not None})
    return Terms(limits, options.dtype or usual.dtype)


if __name__ == "__main__":
    sys.exit(run(main))
