"""A trained model as a folder that works alone: weights, classes, calibration, and how a photo is shown to it."""
