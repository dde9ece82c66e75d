"""The eight teachers: what they start from, how they are fine-tuned, and what they say of clips."""
