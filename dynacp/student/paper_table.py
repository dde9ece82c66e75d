"""A network as a table in the form of Table 1 of the DynaCP paper, to be pasted into a report."""

from dynacp.student.architecture import Architecture
from dynacp.student.layers import table_of

HEAD = ("Input", "Operator", "Stride", "Dilation")
"""The paper's columns; an input is mel bands x frames x channels."""


def markdown(architecture: Architecture) -> str:
    """The table in Markdown."""
    rows = ["| " + " | ".join(row) + " |" for row in (HEAD, *table_of(architecture))]
    return "\n".join([rows[0], "|---" * len(HEAD) + "|", *rows[1:]])


def latex(architecture: Architecture) -> str:
    """The table in LaTeX, without packages."""
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in (HEAD, *table_of(architecture))]
    rule = r"\hline"
    return "\n".join([r"\begin{tabular}{llll}", rule, rows[0], rule, *rows[1:], rule, r"\end{tabular}"])


def _escaped(cell: str) -> str:
    return cell.replace("_", r"\_").replace(" x ", r" $\times$ ")
