"""Blocks of photos, to save memory: five float64 temporaries take ten times the memory of their float32 logits."""

from collections.abc import Iterator

ROWS = 1024


def blocks(photos: int) -> Iterator[slice]:
    """Slices of ROWS photos; the last may be shorter.

    >>> list(blocks(1500))
    [slice(0, 1024, None), slice(1024, 2048, None)]
    """
    for start in range(0, photos, ROWS):
        yield slice(start, start + ROWS)
