"""What is proposed next: the rules that a proposal keeps, the samplers, the Pareto front, the race's rounds."""
