"""What a search comes to: its finalists and what is proved of them, and whether its score can be trusted."""
