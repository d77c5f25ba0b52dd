"""`data` of params.yaml: where the photos and their labels are."""

from typing import ClassVar

from florafauna.base.settings import Names, Share, Strict


class DataParams(Strict):
    """Where the photos and their labels are.

    `labels` equal to `root` means that folder names are the labels; otherwise it is a table or a metadata file.
    """

    synonyms: ClassVar[dict[str, str]] = {"group": "groups"}

    root: str
    labels: str
    format: str = "auto"
    label: str = "species"
    groups: Names = ()
    max_unreadable: Share = 0.1
