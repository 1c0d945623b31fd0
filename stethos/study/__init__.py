"""Protocols that no single paper owns: who is tested, controls, folds, validation, and how it is told."""
