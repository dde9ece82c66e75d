"""Training: one loop for teachers and students, and the distillation loss."""
