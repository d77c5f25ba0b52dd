"""Duplicates: how many planted copies are found, how many distinct photos are merged, and what 100,000 photos cost."""

import io
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from benchmarks.results import Section
from florafauna.audit._perceptual import (
    SIDE,
    THUMBNAIL,
    VIEWS,
    Bytes,
    Hashes,
    grey_square,
    thumbnail,
    view_hashes,
)
from florafauna.audit.duplicates import Indices, cluster, cluster_pictures
from florafauna.audit.examine import examine
from florafauna.base.files import sha256_bytes
from florafauna.base.progress import track

PHOTOS = Path(__file__).resolve().parent.parent.parent / "shared" / "photos"
SIZES = (25_000, 50_000, 100_000)
SCENES = 20
COLOUR_SHIFT = 0.08  # of each channel's gain and of gamma: what another raw converter or a white balance does

# The check of a merged pair, independent of the hashes and thumbnails that merged it: both at CHECKED pixels in
# colour, one cut to each of CUTS crops at 3 × 3 positions. Two members of each cluster were looked at (November 2026):
# all pairs among them that it confirms are right.
CHECKED = 64
CUTS = (0.0, 0.02, 0.04, 0.06, 0.08)
CONFIRMED_ABOVE = 0.9

ABOUT = f"""Copies of every photo of the shared set are planted among the originals, each kind in turn, and clustered
with them; a copy counts as found where it is in the cluster of its original. "All at once" draws a JPEG quality of 50
to 95, a scale of 50 to 100 %, a crop of 0 to 5 % of width and height anywhere, mirroring in half the cases and a colour
shift of up to {100 * COLOUR_SHIFT:.0f} % in each channel's gain and in gamma; the other kinds take the
worst of their range.

Merged wrongly: the set holds true copies, so that not every merged pair of its photos is a mistake. The pairs of photos
that share a cluster without sharing their bytes, directly or through others, are counted against all pairs, in three
ways: all of them, which bounds the mistakes from above without any judgement; those with different labels; and those
that an independent check cannot confirm (colour at {CHECKED} px, best of {9 * len(CUTS) - 8} crops of either, mirrored
or not: correlation below {CONFIRMED_ABOVE}), which counts pictures of a series in which the animal moved as mistakes.
(The 12 that were not confirmed in November 2026, printed when this runs, were looked at: 11 show one scene, among them
a burst and a mirrored copy under another watermark; one, two different dandelion heads, is a mistake.)
Among planted copies it is the pairs of pictures that descend from photos which are not together without the copies.

Clustering: cut-outs of half the width and height of the shared photos (natural pictures; some overlap
enough to be alike), then
{SCENES} scenes of which each has thousands of pictures that differ by noise, then hashes drawn at random.
The time is that of `cluster_pictures`, on one core."""

Photo = tuple[bytes, str]  # an encoded photo and its label
Copy = Callable[[Image.Image, np.random.Generator], bytes]


def run() -> Section:
    """Recall on planted copies, wrong merges, and time by number of photos."""
    if not PHOTOS.is_dir():
        sys.exit(f"benchmarks: the photos this needs are not at {PHOTOS}")
    paths = sorted(path for path in PHOTOS.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    originals = [path.read_bytes() for path in paths]
    facts = _facts(originals)
    alone = cluster(*facts)
    rows = [row for name, copy in KINDS.items() for row in _planted(name, copy, originals, facts, alone)]
    rows += _merged(paths, originals, alone)
    rows += _timed("natural pictures", _cut_outs(paths, max(SIZES)))
    rows += _timed(f"{SCENES} scenes", _scenes(paths, max(SIZES)))
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 2**64, (max(SIZES), len(VIEWS)), dtype=np.uint64)
    rows += _timed("random hashes", (drawn, rng.integers(0, 256, (max(SIZES), THUMBNAIL, THUMBNAIL), dtype=np.uint8)))
    return Section("Duplicates", ABOUT, ("what", "result", "of"), rows)


# ---- planted copies


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Without `share` of the width and of the height, taken off anywhere."""
    x, y = rng.random(2) * share * np.array(image.size)
    return image.crop((round(x), round(y), round(x + image.width * (1 - share)), round(y + image.height * (1 - share))))


def _coloured(image: Image.Image, rng: np.random.Generator, shift: float = COLOUR_SHIFT) -> Image.Image:
    levels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
    gains, gamma = 1 + rng.uniform(-shift, shift, 3), 1 + rng.uniform(-shift, shift)
    return Image.fromarray(((levels**gamma * gains).clip(0, 1) * 255).round().astype(np.uint8))


def _all(image: Image.Image, rng: np.random.Generator) -> bytes:
    image = _coloured(_cropped(image, rng.uniform(0, 0.05), rng), rng)
    image = ImageOps.mirror(image) if rng.random() < 0.5 else image
    return _jpeg(_scaled(image, rng.uniform(0.5, 1)), int(rng.integers(50, 96)))


def _worst(image: Image.Image, rng: np.random.Generator) -> bytes:
    return _jpeg(_scaled(ImageOps.mirror(_coloured(_cropped(image, 0.05, rng), rng)), 0.5), 50)


KINDS: dict[str, Copy] = {
    "JPEG of quality 50": lambda image, rng: _jpeg(image, 50),
    "scaled to 50 %": lambda image, rng: _jpeg(_scaled(image, 0.5), 90),
    "cropped by 5 %": lambda image, rng: _jpeg(_cropped(image, 0.05, rng), 90),
    "mirrored": lambda image, rng: _jpeg(ImageOps.mirror(image), 90),
    "colour shift": lambda image, rng: _jpeg(_coloured(image, rng), 90),
    "all at once": _all,
    "the worst of all at once": _worst,
}

Facts = tuple[list[str], Hashes, Bytes, list[bool]]


def _facts(photos: Sequence[bytes]) -> Facts:
    contents = [examine(photo) for photo in photos]
    side = THUMBNAIL
    return (
        [sha256_bytes(photo) for photo in photos],
        np.stack([np.frombuffer(content.hashes, "<u8").astype(np.uint64) for content in contents]),
        np.stack([np.frombuffer(content.thumbnail, np.uint8).reshape(side, side) for content in contents]),
        [content.flat for content in contents],
    )


def _copy(task: tuple[str, int, bytes]) -> bytes:
    name, number, photo = task
    with Image.open(io.BytesIO(photo)) as image:
        return KINDS[name](image, np.random.default_rng([list(KINDS).index(name), number]))


def _planted(
    name: str, copy: Copy, originals: list[bytes], facts: Facts, alone: Indices
) -> Iterator[tuple[str, str, str]]:
    tasks = [(name, number, photo) for number, photo in enumerate(originals)]
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        copies = list(track(pool.map(_copy, tasks, chunksize=64), name, total=len(tasks)))
    more = _facts(copies)
    labels = cluster(
        facts[0] + more[0],
        np.concatenate([facts[1], more[1]]),
        np.concatenate([facts[2], more[2]]),
        facts[3] + more[3],
    )
    count = len(originals)
    found = int((labels[:count] == labels[count:]).sum())
    descent = np.tile(alone, 2)
    wrong = sum(int(descent[one] != descent[other]) for one, other in _pairs(labels))
    yield f"found: {name}", f"{found / count:.2%}", f"{found:,} of {count:,} copies"
    yield f"merged wrongly: {name}", _in_ten_thousand(wrong, 2 * count), _of_pairs(wrong, 2 * count)


# ---- wrong merges


def _merged(paths: list[Path], photos: list[bytes], labels: Indices) -> Iterator[tuple[str, str, str]]:
    count = len(photos)
    merged = [(one, other) for one, other in _pairs(labels) if photos[one] != photos[other]]
    across = [pair for pair in merged if paths[pair[0]].parent != paths[pair[1]].parent]
    doubtful = [pair for pair in merged if not _confirmed(photos[pair[0]], photos[pair[1]])]
    for name, pairs in (("all", merged), ("with different labels", across), ("not confirmed", doubtful)):
        yield f"originals merged, {name}", _in_ten_thousand(len(pairs), count), _of_pairs(len(pairs), count)
    for one, other in doubtful:
        print("not confirmed:", paths[one].relative_to(PHOTOS), paths[other].relative_to(PHOTOS), file=sys.stderr)


def _confirmed(first: bytes, second: bytes) -> bool:
    one, other = (Image.open(io.BytesIO(photo)).convert("RGB") for photo in (first, second))
    return any(
        _best_correlation(whole, cut) >= CONFIRMED_ABOVE
        for flipped in (one, ImageOps.mirror(one))
        for whole, cut in ((flipped, other), (other, flipped))
    )


def _best_correlation(whole: Image.Image, cut: Image.Image) -> float:
    target = _standardised(whole.resize((CHECKED, CHECKED), Image.Resampling.BOX))
    best = -1.0
    for share in CUTS:
        for x, y in [(x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)] if share else [(0.0, 0.0)]:
            left, top = x * share * cut.width, y * share * cut.height
            box = (left, top, left + (1 - share) * cut.width, top + (1 - share) * cut.height)
            pixels = _standardised(cut.resize((CHECKED, CHECKED), Image.Resampling.BOX, box=box))
            best = max(best, float((target * pixels).mean()))
    return best


def _standardised(image: Image.Image) -> npt.NDArray[np.float64]:
    """Zero mean and unit variance over all channels together, so that differences of colour remain."""
    levels = np.asarray(image, dtype=np.float64)
    levels = levels - levels.mean()
    return levels / max(levels.std(), 1e-9)


def _pairs(labels: Indices) -> Iterator[tuple[int, int]]:
    """All pairs that share a label."""
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        yield from combinations(members.tolist(), 2)


def _in_ten_thousand(pairs: int, photos: int) -> str:
    return f"{10_000 * pairs / (photos * (photos - 1) // 2):.4f} in 10,000"


def _of_pairs(pairs: int, photos: int) -> str:
    return f"{pairs:,} of {photos * (photos - 1) // 2:,} pairs"


# ---- time


def _timed(name: str, pictures: tuple[Hashes, Bytes]) -> Iterator[tuple[str, str, str]]:
    hashes, thumbnails = pictures
    order = np.random.default_rng(0).permutation(len(hashes))
    for size in SIZES:
        chosen = order[:size]
        start = time.perf_counter()
        labels = cluster_pictures(hashes[chosen], thumbnails[chosen])
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        found = f"{len(np.unique(labels)):,} clusters; the process has used up to {peak:.1f} GB"
        yield f"clustering {size:,} photos, {name}", f"{seconds:.1f} s", found


def _of_squares(squares: Iterator[Bytes], count: int) -> tuple[Hashes, Bytes]:
    hashes = np.empty((count, len(VIEWS)), dtype=np.uint64)
    thumbnails = np.empty((count, THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    for number, square in enumerate(track(squares, "hashes", total=count)):
        hashes[number], thumbnails[number] = view_hashes(square), thumbnail(square)
    return hashes, thumbnails


def _cut_outs(paths: list[Path], count: int) -> tuple[Hashes, Bytes]:
    def squares() -> Iterator[Bytes]:
        rng = np.random.default_rng(1)
        for number, path in enumerate(paths):
            with Image.open(path) as image:
                grey = image.convert("L")
            for _ in range(number, count, len(paths)):
                yield grey_square(_cropped(grey, 0.5, rng))

    return _of_squares(squares(), count)


def _scenes(paths: list[Path], count: int) -> tuple[Hashes, Bytes]:
    def squares() -> Iterator[Bytes]:
        rng = np.random.default_rng(2)
        scenes = []
        for path in paths[:: len(paths) // SCENES][:SCENES]:
            with Image.open(path) as image:
                scenes.append(grey_square(image).astype(np.float64))
        for number in range(count):
            noise = rng.normal(0, 6, (SIDE, SIDE))
            yield (scenes[number % len(scenes)] + noise).clip(0, 255).astype(np.uint8)

    return _of_squares(squares(), count)
