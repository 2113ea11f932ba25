"""What runs models: the target and draft engine seams and their implementations."""
