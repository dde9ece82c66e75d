"""The search space: its choices and encodings, the exact cost of many networks at once, and what fits."""
