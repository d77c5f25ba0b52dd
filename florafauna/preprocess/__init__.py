"""Decodes every photo once, into a pixel store for each split."""
