"""`data` and `boxes` of params.yaml: where the photos and their labels are, and what is shown of a photo."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from florafauna.base.settings import Count, Names, Share, Strict


class DataParams(Strict):
    """Where the photos and their labels are.

    `labels` equal to `root` means that folder names are the labels; otherwise it is a table or a metadata file. A class
    with fewer than `least` photos (groups, where `groups` names any) is left out, ends the run, or becomes 'other'.
    `boxes` is a file of detections that go with the labels (below `root` or `labels`, since DVC watches those); None
    stands for the boxes that the labels have. Photos of a place that were taken within `burst` seconds of each other
    stay together (0: they need not).
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
    boxes: str | None = None
    burst: Annotated[int, Field(ge=0)] = 60


class BoxParams(Strict):
    """What is shown of photos that have boxes: the whole photo, or a crop for each box of the `category`.

    A box below the `confidence` is none. It is grown by `padding` of its side on each side, then to a `square`; one of
    fewer than `smallest` pixels is left out. `empty` says what becomes of a photo without a box.
    """

    use: Literal["whole", "crop"] = "whole"
    category: str = "animal"
    confidence: Share = 0.2
    padding: Annotated[float, Field(ge=0, le=10)] = 0.1
    square: bool = True
    smallest: Count = 24
    empty: Literal["whole", "omit"] = "whole"


WHOLE_PHOTOS = BoxParams()
