"""Trains a model anew for each fold, so that every photo is scored by one that never saw it or its group."""
