"""Trains one model: the loop, its batches, and how a killed run resumes."""
