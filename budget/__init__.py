"""Exact complexity of a network, before a tensor exists. Imports no torch outside `budget.witness`."""
