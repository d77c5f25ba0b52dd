"""Shapes in the subject's own coordinates (-1 to 1, y down), put on the canvas by an affine map."""

import colorsys
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
CIRCLE = np.linspace(0, 2 * np.pi, 40, endpoint=False)


class Pen:
    """Draws on an RGBA layer; `matrix` (2, 2) and `origin` map subject coordinates to pixels."""

    def __init__(self, layer: Image.Image, matrix: np.ndarray, origin: np.ndarray) -> None:
        self._draw = ImageDraw.Draw(layer)
        self._matrix, self._origin = matrix, origin
        self._unit = float(np.sqrt(abs(np.linalg.det(matrix))))

    def polygon(self, points: np.ndarray | Iterable[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon of points (n, 2)."""
        self._draw.polygon(self._pixels(points), fill=(*colour, 255))

    def line(self, points: np.ndarray | Iterable[tuple[float, float]], width: float, colour: Colour) -> None:
        """A line through points (n, 2), `width` in units of the subject."""
        self._draw.line(
            self._pixels(points), fill=(*colour, 255), width=max(1, round(width * self._unit)), joint="curve"
        )

    def ellipse(
        self, x: float, y: float, across: float, down: float, colour: Colour, turn: float = 0.0, ring: float = 0.0
    ) -> None:
        """An ellipse with radii `across` and `down`, turned by `turn` rad; `ring` > 0 draws its outline so wide."""
        flat = np.stack([across * np.cos(CIRCLE), down * np.sin(CIRCLE)], axis=1)
        points = flat @ rotation(turn).T + (x, y)
        if ring:
            self.line(np.concatenate([points, points[:2]]), ring, colour)
        else:
            self.polygon(points, colour)

    def _pixels(self, points: np.ndarray | Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        array = np.asarray(points if isinstance(points, np.ndarray) else list(points), dtype=float)
        return [(float(x), float(y)) for x, y in array @ self._matrix.T + self._origin]


def rotation(angle: float) -> np.ndarray:
    """The matrix (2, 2) that turns by `angle` rad."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def colour(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a colour; saturation and value are clipped to 0 to 1, the hue wraps around."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0, 1)))
    return round(red * 255), round(green * 255), round(blue * 255)
