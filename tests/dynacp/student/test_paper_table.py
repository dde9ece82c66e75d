"""The network as a table for a report."""

from dynacp.student import paper_table
from dynacp.student.architecture import TABLE1


def test_table_1_in_markdown_has_the_paper_s_rows() -> None:
    head, rule, first, *rest = paper_table.markdown(TABLE1).splitlines()
    assert head == "| Input | Operator | Stride | Dilation |"
    assert rule == "|---|---|---|---|"
    assert first == "| 256 x 89 x 1 | Conv2D@3x3, BN, ReLU6 | 2 x 2 | - |"
    assert "| 64 x 23 x 32 | DPCPBlock(2)_2, 64 expanded | 1 x 1 | 2 |" in rest
    assert len(rest) == 9  # the second convolution, six blocks, the head, the pool


def test_the_same_in_latex_escapes_what_latex_would_read_otherwise() -> None:
    lines = paper_table.latex(TABLE1).splitlines()
    assert lines[0] == r"\begin{tabular}{llll}"
    assert r"64 $\times$ 23 $\times$ 32 & DPCPBlock(2)\_2, 64 expanded & 1 $\times$ 1 & 2 \\" in lines
    assert lines[-1] == r"\end{tabular}"
