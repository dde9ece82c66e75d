"""The page on which a network is designed: edits, costs, what still fits, and the candidates of a study."""
