"""Applies a bundle to new photos: `florafauna predict`, `florafauna export`."""
