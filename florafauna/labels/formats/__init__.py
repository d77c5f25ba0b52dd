"""One module a format of label files."""
