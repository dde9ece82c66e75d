"""The colours of pictures and charts, which colour-blind people can tell apart."""

FRONT_COLOUR = "#c1272d"
"""The colour of the front and of finalists."""

BASELINE_COLOUR = "#1f3a93"
"""The colour of the baseline."""

LIMIT_COLOUR = "#555555"
"""The colour of limits and of notes."""
