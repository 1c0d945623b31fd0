"""Resampling, filters, beats, waves, quality and named preparations of one-dimensional signals."""
