"""Folders of tiny photos, as for the labels."""

from labels.conftest import jpeg, make_photos

__all__ = ["jpeg", "make_photos"]
