"""Scores one trained model on validation and test photos, and makes its bundle and card."""
