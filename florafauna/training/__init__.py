"""Trains one model: the loop, what it is fed, what lets it resume."""
