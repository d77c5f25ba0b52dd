"""Compares models on the same test photos: paired statistics, ensemble, report."""
