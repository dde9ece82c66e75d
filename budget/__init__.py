"""Exact counts of a network's parameters, bytes and MACs, from its description alone: no tensor is made.

Needs only the standard library and numpy, except that `budget.report` and `budget.cli.terminal` import rich,
`budget.onnx_count` onnx, and `budget.witness` torch and the counters that are compared.
"""
