"""Which model is best on the same test photos: paired statistics, ensemble, report."""
