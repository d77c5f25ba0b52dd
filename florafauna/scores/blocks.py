"""Photos a few at a time: what is computed of their logits on the way to one figure a photo is larger than the logits.

Five float64 arrays of the float32 logits' shape take ten times their memory.
"""

from collections.abc import Iterator

ROWS = 1024


def blocks(photos: int) -> Iterator[slice]:
    """Slices of ROWS photos; the last may be shorter."""
    for start in range(0, photos, ROWS):
        yield slice(start, start + ROWS)
