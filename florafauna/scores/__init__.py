"""Scores computed from logits, with intervals; calibration, abstention, ranks. Pure functions."""
