"""The audit of a folder against decoding every photo with Pillow; and what 1 % of new photos costs."""

import os
import shutil
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.photos import draw
from benchmarks.results import Section
from benchmarks.timing import Pairs, in_turn, pairs, per_second
from florafauna.audit.audit import audit
from florafauna.base.cores import usable_cores
from florafauna.photos.sources import open_source

SETS = ((800, 600, 24, 960), (4000, 3000, 4, 96))  # width, height, different pictures, photos
ADDED_TO = ((800, 600, 24, 12_000), (4000, 3000, 4, 1000))
SHARE = 100  # one in so many is new
RUNS = 5
LONG_AGO = 1_600_000_000  # seconds since the epoch: photos are rarely as new as these would be

ABOUT = """Every photo of a folder read to its last row, on all cores, into a row of facts, a hash and a thumbnail.
Pillow: `Image.open(path).load()` in as many processes, the result thrown away.
florafauna: `audit` with nothing remembered. Both with worker processes that have already imported what they need.
No two photos have the same bytes, since content that is known is not decoded again.
"New": the audit after 1 % of photos were added to a folder that was audited before, against an audit of all of it. With
no new photo it only looks up each file's size and time, and what is remembered of it, in Python on one core: a fixed
price for a file, which is the larger a share the smaller the photos are."""


def run() -> Section:
    """Both sizes, then the rerun after 1 % more photos."""
    rows = [_first(*photos) for photos in SETS] + [row for photos in ADDED_TO for row in _adding(*photos)]
    return Section("Audit", ABOUT, ("what", "Pillow", "florafauna", "times faster"), rows)


def _first(width: int, height: int, different: int, count: int) -> tuple[str, ...]:
    workers, context = usable_cores(), get_context("forkserver")
    with TemporaryDirectory() as folder:
        root = Path(folder)
        paths = list(_write(root / "photos", width, height, different, count))
        files = [root / "photos" / path for path in paths]

        def theirs() -> None:
            with ProcessPoolExecutor(workers, context) as pool:
                list(pool.map(_pillow, files, chunksize=8))

        def ours() -> None:
            shutil.rmtree(root / "cache", ignore_errors=True)
            _audit(root, paths)

        timed = pairs(theirs, ours, RUNS)
    name = f"{width}×{height} JPEG, {count} photos"
    return name, per_second(count, timed.theirs), per_second(count, timed.ours), timed.ratio


def _adding(width: int, height: int, different: int, count: int) -> list[tuple[str, ...]]:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        paths = list(_write(root / "photos", width, height, different, count))
        before = [path for number, path in enumerate(paths) if number % SHARE]
        _audit(root, before)
        shutil.move(root / "cache", root / "known")

        def everything() -> None:
            shutil.rmtree(root / "cache")
            _audit(root, paths)

        def known() -> None:
            _audit(root, before)

        def added() -> None:
            _audit(root, paths)

        def forget() -> None:
            shutil.rmtree(root / "cache", ignore_errors=True)
            shutil.copytree(root / "known", root / "cache")

        forget()
        in_turn((everything, forget, known, added), 1)  # not counted
        whole, _, none, new = in_turn((everything, forget, known, added), RUNS)
    name = f"{width}×{height} JPEG, {count:,} photos"
    return [
        _share(f"{name}, none of them new", whole, none),
        _share(f"{name}, 1 % of them new", whole, new),
    ]


def _share(name: str, whole: list[float], some: list[float]) -> tuple[str, ...]:
    timed = Pairs(whole, some)
    share = 100 / statistics.median(timed.ratios)
    seconds = f"{statistics.median(some):.2f} s, all {statistics.median(whole):.2f} s"
    return f"{name}: {share:.1f} % of the time for all", "", seconds, timed.ratio


def _audit(root: Path, paths: list[str]) -> None:
    found = audit(open_source(root / "photos"), paths, cache=root / "cache")
    assert (found.table["reason"] == "").all()


def _write(root: Path, width: int, height: int, different: int, count: int) -> Iterator[str]:
    """The paths of `count` JPEGs of `different` pictures, made different by a few bytes after their end."""
    drawn = [draw(width, height, seed) for seed in range(different)]
    root.mkdir()
    for number in range(count):
        file = root / f"{number:06d}.jpg"
        file.write_bytes(drawn[number % different] + number.to_bytes(4, "big"))
        os.utime(file, (LONG_AGO, LONG_AGO))
        yield file.name


def _pillow(file: Path) -> None:
    with Image.open(file) as image:
        image.load()
