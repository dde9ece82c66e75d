"""The commands `train`, `predict` and `export`, and the options that commands share."""
