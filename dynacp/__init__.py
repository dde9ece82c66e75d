"""DynaCP: the student network, its EfficientAT teachers, and how they are trained.

Importing this package, or `dynacp.student.architecture`, does not import torch.
"""
