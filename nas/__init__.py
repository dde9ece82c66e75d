"""Architecture search over DynaCP layouts: accuracy against MACs, within the challenge's limits."""
