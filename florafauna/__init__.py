"""florafauna: a data-versioned pipeline that finds the best image classifier for photos of flora and fauna."""

__version__ = "0.1.0"
