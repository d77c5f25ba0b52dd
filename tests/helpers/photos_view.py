"""Shorthands for what tests look at in `Photos`."""

from florafauna.labels.read import Photos


def labels(photos: Photos) -> dict[str, str]:
    """path → label of the usable photos."""
    return dict(zip(photos.table["path"], photos.table["label"], strict=True))


def reasons(photos: Photos) -> dict[str, str]:
    """path → reason of the omitted files."""
    return dict(zip(photos.omitted["path"], photos.omitted["reason"], strict=True))


def column(photos: Photos, name: str) -> dict[str, str]:
    """path → value of a column of the usable photos."""
    return dict(zip(photos.table["path"], photos.table[name], strict=True))
