"""Duplicates: copies are together whatever was done to them, different pictures are apart, order does not matter."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.drawn import saved, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from florafauna.audit._perceptual import THUMBNAIL, VIEWS, grey_square, mirrored, view_hashes
from florafauna.audit.duplicates import RADIUS, cluster, cluster_pictures, pairs_within_radius
from florafauna.audit.examine import examine

SCENES = [scene(seed) for seed in range(40)]
ORIGINALS = [saved(image, quality=92) for image in SCENES]


def clusters(photos: Sequence[bytes]) -> np.ndarray:
    contents = [examine(photo) for photo in photos]
    assert {content.reason for content in contents} <= {""}
    return cluster(
        [hashlib.sha256(photo).hexdigest() for photo in photos],
        np.stack([np.frombuffer(content.hashes, "<u8").astype(np.uint64) for content in contents]),
        np.stack([np.frombuffer(content.thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL) for content in contents]),
        [content.flat for content in contents],
    )


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def scaled(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def cropped(image: Image.Image, left: float, top: float) -> Image.Image:
    """5 % of width and height cut off, the given shares of it at the left and at the top."""
    x, y = 0.05 * image.width * left, 0.05 * image.height * top
    return image.crop((round(x), round(y), round(x + 0.95 * image.width), round(y + 0.95 * image.height)))


def warmer(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * [1.08, 1.0, 0.92]).clip(0, 255).astype(np.uint8))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "quality 50": lambda image: saved(image, quality=50),
    "quality 95": lambda image: saved(image, quality=95),
    "half the size": lambda image: saved(scaled(image, 0.5)),
    "three quarters of the size": lambda image: saved(scaled(image, 0.75)),
    "another format": lambda image: saved(image, "PNG"),
    "mirrored": lambda image: saved(ImageOps.mirror(image)),
    "warmer": lambda image: saved(warmer(image)),
    "brighter": lambda image: saved(ImageEnhance.Brightness(image).enhance(1.1)),
    "top left cut off": lambda image: saved(cropped(image, 1, 1)),
    "bottom right cut off": lambda image: saved(cropped(image, 0, 0)),
    "all sides cut": lambda image: saved(cropped(image, 0.5, 0.5)),
    "everything": lambda image: saved(scaled(ImageOps.mirror(warmer(cropped(image, 0.3, 0.8))), 0.6), quality=60),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else_is_merged(kind: str) -> None:
    labels = clusters(ORIGINALS + [COPIES[kind](image) for image in SCENES])
    count = len(SCENES)
    assert (labels[:count] == labels[count:]).mean() >= 0.95
    assert len(np.unique(labels[:count])) == count
    assert len(np.unique(labels[count:])) == count


def test_copies_of_real_photos(shared: Path) -> None:
    paths = sorted((shared / "photos" / "tulips").iterdir())[:60]
    originals = [path.read_bytes() for path in paths]
    images = [Image.open(path).convert("RGB") for path in paths]
    labels = clusters(originals + [COPIES["everything"](image) for image in images])
    assert (labels[:60] == labels[60:]).mean() >= 0.95
    assert len(np.unique(labels[:60])) >= 58


def test_different_pictures_are_apart() -> None:
    assert len(np.unique(clusters(ORIGINALS))) == len(ORIGINALS)


def test_the_same_bytes_are_together() -> None:
    assert partition(clusters([*ORIGINALS[:3], ORIGINALS[1], ORIGINALS[1]])) == {
        frozenset({0}),
        frozenset({1, 3, 4}),
        frozenset({2}),
    }


def test_an_orientation_in_exif_makes_no_other_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(SCENES[0].transpose(Image.Transpose.ROTATE_90), exif=exif)
    labels = clusters([ORIGINALS[0], turned, ORIGINALS[1]])
    assert labels[0] == labels[1] != labels[2]


def test_flat_pictures_do_not_chain() -> None:
    rng = np.random.default_rng(0)
    levels = [np.clip(rng.normal(level, 1.2, (96, 128, 3)), 0, 255).astype(np.uint8) for level in range(0, 250, 10)]
    blank = [saved(Image.fromarray(pixels)) for pixels in levels]
    labels = clusters([*blank, blank[3], *ORIGINALS[:5]])
    assert len(np.unique(labels)) == len(blank) + 5
    assert labels[len(blank)] == labels[3]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(24)))
def test_order_does_not_matter(order: list[int]) -> None:
    makers = (COPIES["everything"], COPIES["quality 50"], COPIES["top left cut off"])
    photos = ORIGINALS[:6] + [make(image) for make in makers for image in SCENES[:6]]
    labels = clusters(photos)
    shuffled = clusters([photos[number] for number in order])
    assert partition(labels) == {frozenset(order[place] for place in group) for group in partition(shuffled)}
    assert len(partition(labels)) == 6


@given(st.integers(0, 2**32 - 1), st.permutations(range(30)))
@settings(max_examples=40, deadline=None)
def test_order_does_not_matter_to_a_crowd_of_one_scene(seed: int, order: list[int]) -> None:
    """Many pictures that are nearly alike, more of them than are compared with other clusters."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 255, (2, THUMBNAIL, THUMBNAIL))
    thumbnails = np.clip(base[np.arange(30) % 2] + rng.normal(0, 3, (30, THUMBNAIL, THUMBNAIL)), 0, 255)
    hashes = np.repeat(rng.integers(0, 2**64, (2, len(VIEWS)), dtype=np.uint64), 15, axis=0)[np.arange(30) % 2 * 15]
    hashes ^= np.uint64(1) << rng.integers(0, 64, (30, len(VIEWS)), dtype=np.uint64)
    labels = cluster_pictures(hashes, thumbnails.astype(np.uint8))
    shuffled = cluster_pictures(hashes[order], thumbnails[order].astype(np.uint8))
    assert partition(labels) == {frozenset(order[place] for place in group) for group in partition(shuffled)}


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_photos(count: int) -> None:
    hashes, thumbnails = np.zeros((count, len(VIEWS)), np.uint64), np.zeros((count, THUMBNAIL, THUMBNAIL), np.uint8)
    assert len(cluster(["a"] * count, hashes, thumbnails, [False] * count)) == count


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_search_finds_what_comparing_all_with_all_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, 60, dtype=np.uint64)
    queries = base.copy()
    for _ in range(9):  # up to 9 bits, so that some are too far
        queries ^= (np.uint64(1) << rng.integers(0, 64, 60, dtype=np.uint64)) * rng.integers(0, 2, 60, dtype=np.uint64)
    distance = np.bitwise_count(queries[:, None] ^ base[None, :])
    expected = {tuple(pair) for pair in np.argwhere(distance <= RADIUS).tolist()}
    found = {
        pair for some in pairs_within_radius(queries, base) for pair in zip(*map(np.ndarray.tolist, some), strict=True)
    }
    assert found == expected


@pytest.mark.parametrize("seed", range(3))
def test_the_hash_of_a_mirrored_picture_is_the_mirrored_hash(seed: int) -> None:
    square = grey_square(scene(seed))
    plain, flipped = view_hashes(square), view_hashes(np.ascontiguousarray(square[:, ::-1]))
    assert np.bitwise_count(mirrored(plain[:1]) ^ flipped[:1])[0] == 0
    np.testing.assert_array_equal(mirrored(mirrored(plain)), plain)
