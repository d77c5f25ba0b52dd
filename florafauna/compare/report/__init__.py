"""reports/index.html: what a run found, as one file that needs no network."""

from florafauna.compare.report._page import write_report

__all__ = ["write_report"]
