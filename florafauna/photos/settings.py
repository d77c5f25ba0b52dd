"""`data` of params.yaml: where the photos and their labels are."""

from typing import ClassVar, Literal

from florafauna.base.settings import Count, Names, Share, Strict


class DataParams(Strict):
    """Where the photos and their labels are.

    `labels` equal to `root` means that folder names are the labels; otherwise it is a table or a metadata file. A class
    with fewer than `least` photos (groups, where `groups` names any) is left out, ends the run, or becomes 'other'.
    """

    synonyms: ClassVar[dict[str, str]] = {"group": "groups"}

    root: str
    labels: str
    format: str = "auto"
    label: str = "species"
    groups: Names = ()
    max_unreadable: Share = 0.1
    least: Count = 3
    rare: Literal["omit", "stop", "other"] = "omit"
