"""Decodes every photo once, into one pixel store a split."""
