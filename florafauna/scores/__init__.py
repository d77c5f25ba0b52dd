"""Statistics of logits: scores with intervals, calibration, abstention. Pure functions."""
