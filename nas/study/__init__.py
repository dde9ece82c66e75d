"""A search as it is stored: its database, its queue of trials, its workers, and the race at the end."""
