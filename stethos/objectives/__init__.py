"""Training objectives: pure functions of tensors, ignorant of processes and steps."""
