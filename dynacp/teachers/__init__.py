"""Teachers: which there are, what they start from, how they are fine-tuned, and what they say of clips."""
