"""Looks at every photo once: unreadable files, exact copies and near-duplicates, remembered from run to run."""
