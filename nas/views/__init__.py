"""What a person sees of a search: the terminal, and the interactive charts of its page."""
