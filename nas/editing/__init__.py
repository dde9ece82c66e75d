"""A network that is edited by hand: its choices, in the search space and beyond, what each costs, what still fits."""
