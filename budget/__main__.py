"""Count a network exactly, before it is built: parameters, bytes and MACs, row by row, against the limits.

The peak of activation memory is shown beside them, in each dtype; --max-activation-bytes limits it in the dtype at
inference.

ARCH is `table1` (the DynaCP paper), `baseline` (the DCASE 2024/25 baseline), or a JSON file such as
`python -m nas.export` writes:

    {"blocks": [{"expanded": 64, "out": 32, "dilation": 2, "residual": 2, "stride": [1, 1]}, ...]}

Residual 1 has no shortcut, 2 is the identity (stride [1, 1], channels kept), 3 pools (strided, channels kept).
Fields that may be left out: dilation 1, residual 1, stride [1, 1]; for the network: input [256, 89], classes 10,
stem [8, 32], family "dpcp" or "cp", activation "relu6" or "relu", pool "average" or "maximum", norm "sum" or
"depthwise".

float32 and float16 are counted by the challenge's rule (`dcase`). int8 is counted folded, as it is only run so: a
weight of a kernel takes 1 byte, a bias (int32) and a weight of a norm that stays (float32) 4; scales and zero points
are no parameters and are not counted.

Exit status: 0 within the limits, 1 over (and for nothing else), 2 bad input, 3 standard output could not be written
(closed pipe, full disk), 130 stopped.
"""

import json
import sys
from dataclasses import asdict, replace

from budget.cli.command import CommandParser, add_limit_options, answering, limits_of, run
from budget.cli.terminal import console, show
from budget.conventions import CONVENTIONS
from budget.dtypes import DEFAULT_DTYPE, DTYPES
from budget.errors import UserError
from budget.ledger import Ledger, ledger
from budget.limits import Limits
from budget.memory import Peak, peak
from budget.report import activation_table, convention_table, headroom_table, ledger_table
from dynacp.student.architecture import Architecture, resolve
from dynacp.student.layers import layers_of, steps_of


def parser() -> CommandParser:
    """The parser of `python -m budget`."""
    parser = CommandParser(prog="python -m budget", description=__doc__, epilog=None)
    add = parser.add_argument
    add("architecture", metavar="ARCH", help="table1, baseline, or a JSON file")
    add(
        "--dtype",
        choices=sorted(DTYPES),
        default=DEFAULT_DTYPE,
        help="at inference (default: %(default)s)",
    )
    add("--frames", type=int, metavar="N", help="time frames of the input, in place of the architecture's own")
    add_limit_options(add)
    add(
        "--witness",
        action="store_true",
        help="also build the network and count it with torchinfo, torch, fvcore and thop",
    )
    add("--json", action="store_true", help="print JSON instead of tables")
    return parser


@answering()
def main(arguments: list[str] | None = None) -> int:
    """Run the command with `arguments` (None: those of the process); returns the exit status."""
    options = parser().parse_args(arguments)
    limits, network = limits_of(options), resolve(options.architecture)
    if options.frames is not None:
        network = replace(network, input=(network.input[0], options.frames))
    accounts = {
        name: ledger(layers_of(network), convention=convention, dtype=options.dtype)
        for name, convention in CONVENTIONS.items()
    }
    counts = _witnesses(network) if options.witness else {}
    account, activations = accounts[DTYPES[options.dtype].convention.name], peak(steps_of(network))
    if options.json:
        print(json.dumps(_as_json(network, account, accounts, activations, limits, counts), indent=2))
    else:
        _print(options.architecture, network, account, accounts, activations, limits, counts)
    return 0 if limits.verdict(account, activations).fits else 1


def _witnesses(network: Architecture) -> dict[str, tuple[str, int]]:
    """The MACs that each tool counts on the built network: tool -> (convention that it follows, MACs)."""
    try:
        from budget.witness import MAC_WITNESSES
        from dynacp.student.model import DynaCP
    except ImportError as error:
        raise UserError(
            f"`--witness` counts with torch, torchinfo, fvcore and thop: {error}. Install them, or leave it out."
        ) from None
    module = DynaCP(network).eval()
    return {
        tool: (convention, count(module, (1, 1, *network.input))) for tool, (convention, count) in MAC_WITNESSES.items()
    }


def _print(
    architecture: str,
    network: Architecture,
    account: Ledger,
    accounts: dict[str, Ledger],
    activations: Peak,
    limits: Limits,
    counts: dict[str, tuple[str, int]],
) -> None:
    out = console()
    title = (
        f"{architecture}: input {network.input[0]} x {network.input[1]}, in {account.dtype}, counted by the convention "
        f"{account.convention} ({CONVENTIONS[account.convention].summary})"
    )
    show(out, ledger_table(account, title), ledger_table(account, title, kinds=False))
    show(out, headroom_table(account, activations, limits))
    show(out, activation_table(activations))
    told = {convention: f"{tool}: {macs:,}" for tool, (convention, macs) in counts.items()}
    show(out, convention_table(accounts, activations, limits, told))
    out.print(f"{architecture} {limits.verdict(account, activations)}.")


def _as_json(
    network: Architecture,
    account: Ledger,
    accounts: dict[str, Ledger],
    activations: Peak,
    limits: Limits,
    counts: dict[str, tuple[str, int]],
) -> dict[str, object]:
    verdict = limits.verdict(account, activations)
    conventions = {
        name: {"parameters": a.parameters, "macs": a.macs, "bytes": a.bytes}
        | {"fits": limits.verdict(a, activations).fits}
        for name, a in accounts.items()
    }
    content: dict[str, object] = {
        "architecture": asdict(network),
        "convention": account.convention,
        "dtype": account.dtype,
        "parameters": account.parameters,
        "macs": account.macs,
        "bytes": account.bytes,
        "limits": asdict(limits),
        "fits": verdict.fits,
        "macs_over": verdict.macs_over,
        "bytes_over": verdict.bytes_over,
        "activation_bytes_over": verdict.activation_bytes_over,
        "blame": [row.name for row in verdict.blame],
        "conventions": conventions,
        "activations": {
            "peak_elements": activations.elements,
            "bytes": activations.bytes,
            "at": activations.at,
            "alive": [tensor.name for tensor in activations.alive],
        },
        "rows": [row._asdict() for row in account.rows],
    }
    if counts:
        content["witnesses"] = {tool: {"convention": c, "macs": macs} for tool, (c, macs) in counts.items()}
    return content


if __name__ == "__main__":
    sys.exit(run(main))
