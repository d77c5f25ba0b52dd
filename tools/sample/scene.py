"""An individual in a scene, seen by a camera: background, pose, light, blur, noise."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tools.sample.pen import Pen, colour, rotation
from tools.sample.species import Species
from tools.sample.subjects import KINDS

OVERSAMPLING = 2
# Hue, saturation and value of what lies behind: grass, moss, soil, sand, bark, water, sky, stone
GROUNDS = ((0.27, 0.5, 0.5), (0.33, 0.4, 0.3), (0.08, 0.45, 0.35), (0.11, 0.3, 0.75), (0.06, 0.3, 0.4),
           (0.55, 0.45, 0.5), (0.58, 0.3, 0.85), (0.1, 0.05, 0.55))  # fmt: skip


def photograph(species: Species, individual: int, shot: int, seed: int, smallest: int, largest: int) -> Image.Image:
    """One picture of an individual. Shots of one individual share its looks, place and light, not pose and camera."""
    name = [seed, *species.name.encode(), individual]
    looks, scene, pose = (np.random.default_rng([*name, part]) for part in (0, 1, 2))
    camera = np.random.default_rng([*name, 3, shot])
    shorter = int(scene.integers(smallest, smallest + (largest - smallest) // 3))
    longer = min(largest, round(shorter * scene.choice([1.0, 1.2, 4 / 3, 1.5])))
    size = (longer, shorter) if scene.random() < 0.7 else (shorter, longer)
    canvas = (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING)
    ground = background(canvas, scene)
    layer = Image.new("RGBA", canvas, (0, 0, 0, 0))
    extent = min(canvas) / 2
    scale = extent * pose.uniform(0.6, 0.95) * camera.normal(1, 0.04)
    lean = np.array([[1.0, pose.normal(0, 0.12) + camera.normal(0, 0.04)], [0.0, pose.uniform(0.78, 1.0)]])
    angle = pose.uniform(-0.7, 0.7) if species.kind in ("flower", "fern", "fish") else pose.uniform(-np.pi, np.pi)
    matrix = rotation(angle + camera.normal(0, 0.08)) @ lean * scale
    room = np.maximum(0, np.array(canvas) / 2 - scale * 0.9)
    origin = np.array(canvas) / 2 + pose.uniform(-1, 1, 2) * room + camera.normal(0, extent * 0.03, 2)
    KINDS[species.kind](Pen(layer, matrix, origin), species.traits, looks)
    layer = textured(layer, looks)
    picture = with_shadow(ground, layer, scene)
    _cover(picture, scene)
    picture = picture.resize(size, Image.Resampling.BOX)
    return _developed(picture, scene, camera)


def background(size: tuple[int, ...], rng: np.random.Generator) -> Image.Image:
    """Out-of-focus ground with blotches and blades."""
    hue, saturation, value = GROUNDS[rng.integers(len(GROUNDS))]
    grid = rng.normal(0, 1, (3, 6, 6)) * np.array([0.03, 0.1, 0.13])[:, None, None]
    cells = [
        [colour(hue + grid[0, y, x], saturation + grid[1, y, x], value + grid[2, y, x]) for x in range(6)]
        for y in range(6)
    ]
    picture = Image.fromarray(np.array(cells, dtype=np.uint8)).resize((size[0], size[1]), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(5, 40))):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        long, wide, turn = rng.uniform(0.05, 0.4) * size[0], rng.uniform(2, 16), rng.uniform(0, np.pi)
        shade = colour(hue + rng.normal(0, 0.05), saturation + rng.normal(0, 0.1), value + rng.normal(0, 0.15))
        pen.line([(x, y), (x + long * np.cos(turn), y + long * np.sin(turn))], fill=shade, width=int(wide))
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(2, 9)))


def textured(layer: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Uneven brightness over the subject, as of wax, dust and worn scales."""
    grid = (rng.normal(0, 1, (9, 9)) * 22 + 128).clip(0, 255).astype(np.uint8)
    shade = np.asarray(Image.fromarray(grid).resize(layer.size, Image.Resampling.BICUBIC), dtype=np.float32) / 128
    pixels = np.asarray(layer, dtype=np.float32).copy()
    pixels[..., :3] = (pixels[..., :3] * shade[..., None]).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def with_shadow(ground: Image.Image, layer: Image.Image, rng: np.random.Generator) -> Image.Image:
    across, down = (int(value) for value in rng.integers(-12, 13, 2))
    shadow = Image.new("L", layer.size, 0)
    shadow.paste(layer.getchannel("A").point(lambda alpha: alpha * 0.45), (across, down))
    shadow = shadow.filter(ImageFilter.GaussianBlur(6))
    picture = Image.composite(Image.new("RGB", layer.size, (10, 12, 10)), ground, shadow)
    picture.paste(layer, (0, 0), layer)
    return picture


def _cover(picture: Image.Image, rng: np.random.Generator) -> None:
    """Blades of grass in front, in some pictures."""
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 5)) if rng.random() < 0.35 else 0):
        x, drift = rng.uniform(0, picture.width), rng.uniform(-0.3, 0.3) * picture.width
        shade = colour(rng.normal(0.28, 0.04), 0.5, rng.uniform(0.25, 0.7))
        pen.line([(x, picture.height), (x + drift, 0)], fill=shade, width=int(rng.integers(2, 9)))


def _developed(picture: Image.Image, scene: np.random.Generator, camera: np.random.Generator) -> Image.Image:
    """Light, colour cast, blur and noise."""
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(camera.gamma(1.0, 0.4))), dtype=np.float32) / 255
    pixels = pixels ** np.float32(scene.uniform(0.7, 1.5)) * np.float32(scene.uniform(0.65, 1.15))
    pixels *= np.array([1 + scene.normal(0, 0.07), 1, 1 + scene.normal(0, 0.07)], dtype=np.float32)
    pixels = (pixels - 0.45) * np.float32(scene.uniform(0.65, 1.1)) + np.float32(0.45)
    rows, columns = np.mgrid[-1 : 1 : pixels.shape[0] * 1j, -1 : 1 : pixels.shape[1] * 1j].astype(np.float32)
    pixels *= (1 - scene.uniform(0, 0.3) * (rows**2 + columns**2) / 2)[..., None].astype(np.float32)
    pixels += camera.normal(0, camera.uniform(0.0, 0.03), pixels.shape).astype(np.float32)
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))
