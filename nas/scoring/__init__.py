"""How a candidate is scored: the clips that a search sees, and one short distillation."""
