"""The eight teachers: what they start from, how they are fine-tuned, and their summed logits."""
