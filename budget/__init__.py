"""Exact complexity of a network, before a tensor exists.

It stands on the standard library and numpy. Besides them `budget.report` and `budget.cli.terminal` import rich,
`budget.onnx_count` onnx, and `budget.witness` torch and the counters that are compared; nothing
else in it does.
"""
