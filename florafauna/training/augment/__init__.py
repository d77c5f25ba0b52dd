"""Data augmentation as a function of (seed, epoch, photo)."""
