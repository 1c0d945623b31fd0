"""Training: one loop, on one process or many, in a folder that can be resumed."""
