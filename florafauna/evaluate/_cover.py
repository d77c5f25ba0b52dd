"""Photos with their animals covered: what a model still knows of them it has read from the background."""

from dataclasses import dataclass

import numpy as np

from florafauna.pixels.store import PixelStore


@dataclass(frozen=True)
class Cover:
    """Fills the boxes of whole photos, grown by `padding` of their sides on each side, with the photo's mean.

    `boxes` are texts by path: left, top, width and height in stored pixels, and spaces between the boxes.
    """

    boxes: dict[str, str]
    padding: float

    @classmethod
    def of(cls, store: PixelStore) -> "Cover | None":
        """For the photos of a store; None where crops are stored, or no boxes are known."""
        if store.boxes is None or "boxes" not in store.columns:
            return None
        table = store.table("path", "boxes")
        boxes = {path: text for path, text in zip(table["path"], table["boxes"], strict=True) if text}
        return cls(boxes, store.boxes["padding"]) if boxes else None

    def __call__(self, photo: np.ndarray, name: str) -> np.ndarray:
        """The stored pixels, uint8 (height, width, 3), of the photo `name` without its animals."""
        texts = self.boxes.get(name, "").split()
        if not texts:
            return photo
        covered, mean = photo.copy(), photo.mean(axis=(0, 1)).round().astype(np.uint8)
        for text in texts:
            left, top, width, height = map(int, text.split(","))
            across, down = round(self.padding * width), round(self.padding * height)
            rows = slice(max(top - down, 0), top + height + down)
            covered[rows, max(left - across, 0) : left + width + across] = mean
        return covered
