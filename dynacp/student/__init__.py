"""The student: its description, its layers and their order of execution, its PyTorch module, and int8."""
