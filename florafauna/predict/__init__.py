"""Applies a bundle to new photos (`florafauna predict`) and exports it (`florafauna export`)."""
