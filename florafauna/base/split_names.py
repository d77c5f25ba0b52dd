"""The three parts of the photos, as every file and folder names them."""

SPLITS = ("train", "val", "test")
