"""What the licence of initial weights demands of a bundle, which is made of them and passed on."""

import re

SAME = "this bundle is made of them and may only be passed on under that licence, "
NOT_COMMERCIAL = "neither they nor this bundle, which is made of them, may be used commercially; whoever passes it on "
RESEARCH = "they and this bundle, which is made of them, are for non-commercial research only; "
DEMANDS: tuple[tuple[str, str], ...] = (  # the first whose pattern fits the whole licence
    (
        r"dinov3([ -]licen[cs]e)?",
        f"{SAME}with a copy of it (https://ai.meta.com/resources/models-and-libraries/dinov3-license/); commercial use "
        "is allowed, some purposes (weapons, for one) are not, and publications must acknowledge DINOv3",
    ),
    (
        r"cc-by-nc-sa-[\d.]+",
        f"{NOT_COMMERCIAL}names their authors and this licence, says what was changed, and uses the same licence",
    ),
    (r"cc-by-nc-nd-[\d.]+", "a model that was trained further may not be passed on at all, nor used commercially"),
    (r"cc-by-nc-[\d.]+", f"{NOT_COMMERCIAL}names their authors and this licence, and says what was changed"),
    (r"fair-noncommercial-research-licen[cs]e", f"{RESEARCH}it may only be passed on under that licence, with a copy"),
    (r"cc-by-sa-[\d.]+", f"{SAME}with the names of their authors and what was changed"),
    (r"cc-by-[\d.]+", "whoever passes this bundle on names their authors and this licence, and says what was changed"),
)


def demands(licence: str | None) -> str | None:
    """A clause on what a licence asks of whoever passes a bundle on; None where nothing beyond its text is known.

    >>> demands("apache-2.0") is None
    True
    """
    name = (licence or "").strip().lower().replace(" ", "-")
    return next((clause for pattern, clause in DEMANDS if re.fullmatch(pattern, name)), None)
