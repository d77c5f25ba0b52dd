"""The names of the three splits, as used in every file and folder."""

SPLITS = ("train", "val", "test")
