"""`image` of params.yaml."""

from typing import Annotated

from pydantic import Field

from florafauna.base.settings import Strict


class ImageParams(Strict):
    """The pixel store: photos decoded once, `store_size` pixels along the shorter side."""

    store_size: Annotated[int, Field(ge=32, le=4096)] = 256
