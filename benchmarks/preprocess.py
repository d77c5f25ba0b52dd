"""Decoding photos once into the pixel store, against Pillow; and what adding 1 % of photos costs."""

import shutil
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from PIL import Image

from benchmarks.photos import draw_folder
from benchmarks.results import Section
from benchmarks.timing import pairs, per_second
from florafauna.base.cores import usable_cores
from florafauna.photos.sources import open_source
from florafauna.preprocess._kept import KeptPixels
from florafauna.preprocess._write import build_store
from florafauna.preprocess.decode import decoder

STORE_SIZE = 256
SETS = ((800, 600, 48, 960), (4000, 3000, 6, 96))  # width, height, different photos, photos
ADDED_TO = ((800, 600, 48, 4000), (4000, 3000, 6, 400))
SHARE = 100  # one in so many is new
ABOUT = f"""Every photo of a folder to {STORE_SIZE} px along the shorter side, on all cores.
Pillow: `Image.open(path).convert("RGB").resize(size)` in as many processes, the result thrown away.
florafauna: the preprocess stage's `build_store`, which reads, decodes, resizes, writes the pixels and the index and
flushes them to the disk. Both with worker processes that have already imported what they need."""


def run() -> Section:
    """Both sizes, then the rerun after 1 % more photos."""
    workers, context = usable_cores(), get_context("forkserver")
    context.set_forkserver_preload([build_store.__module__])  # for both, whoever starts the server
    rows: list[tuple[str, ...]] = []
    for width, height, different, count in SETS:
        with TemporaryDirectory() as folder:
            root = Path(folder)
            manifest = draw_folder(root / "photos", width, height, different, count)
            files = [root / "photos" / path for path in manifest["path"]]

            def theirs(files: list[Path] = files) -> None:
                with ProcessPoolExecutor(workers, context) as pool:
                    list(pool.map(_pillow, files, chunksize=8))

            def ours(root: Path = root, manifest: pd.DataFrame = manifest) -> None:
                _build(manifest, root, root / "store", workers)

            timed = pairs(theirs, ours)
        name = f"{width}×{height} JPEG, {count} photos"
        rows.append((name, per_second(count, timed.theirs), per_second(count, timed.ours), timed.ratio))
    rows += [_adding(*photos) for photos in ADDED_TO]
    return Section("Preprocess", ABOUT, ("what", "Pillow", "florafauna", "times faster"), rows)


def _adding(width: int, height: int, different: int, count: int) -> tuple[str, ...]:
    """The stage after 1 % of photos were added, against decoding all of them."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        manifest = draw_folder(root / "photos", width, height, different, count)
        with KeptPixels(root / "kept", decoder(), STORE_SIZE) as kept:
            _build(manifest.drop(index=manifest.index[::SHARE]), root, root / "train")
            kept.keep(root / "train")

        def added() -> None:
            with KeptPixels(root / "kept", decoder(), STORE_SIZE) as kept:
                _build(manifest, root, root / "again", kept=kept)

        timed = pairs(lambda: _build(manifest, root, root / "again"), added)
    share = 100 / statistics.median(timed.ratios)
    name = f"{width}×{height} JPEG, 1 % of {count} photos are new: {share:.1f} % of the time for all"
    return name, "", f"{statistics.median(timed.ours):.2f} s, all {statistics.median(timed.theirs):.2f} s", timed.ratio


def _build(
    manifest: pd.DataFrame, root: Path, out: Path, workers: int | None = None, kept: KeptPixels | None = None
) -> None:
    shutil.rmtree(out, ignore_errors=True)
    build_store(manifest, ["class0", "class1"], open_source(root / "photos"), out, STORE_SIZE, kept, workers)


def _pillow(file: Path) -> tuple[int, int]:
    image = Image.open(file).convert("RGB")
    scale = STORE_SIZE / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale))).size
