"""How messages list names."""

from collections.abc import Sequence

NAMED = 3


def some(names: Sequence[str]) -> str:
    """The first names, and dots for the rest."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def both(names: Sequence[str]) -> str:
    """The names in quotation marks, with 'and'."""
    return " and ".join(f"'{name}'" for name in names)
