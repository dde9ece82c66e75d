"""What is claimed to be fast, measured against a named alternative in the same run."""
