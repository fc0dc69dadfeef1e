"""What is needed in training and never again: teacher, alignment, objectives, trainer, recipes."""
