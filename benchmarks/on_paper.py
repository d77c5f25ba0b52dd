"""Ten and a hundred million photos, computed from what the other sections of RESULTS.md say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.generated import STORE_SIZE
from benchmarks.growth import COUNTS, FURTHER
from benchmarks.packing import FILES
from benchmarks.predict import MODEL
from benchmarks.results import Section, cores_of, found, number
from florafauna.preprocess._write import STARTS_SHARD
from florafauna.preprocess.decode import stored_size

PHOTOS = (10_000_000, 100_000_000)
HARDWARE = ((16, 1), (128, 8))  # cores and GPUs
TRAINED = 0.7  # of the photos are trained on
ORIGINALS, SIDE = (800, 600), 256  # pixels of a photo, and of its stored shorter side
DRAWN = f"{ORIGINALS[0]}×{ORIGINALS[1]} JPEG"
MODELS = ("tf_efficientnetv2_s", "convnext_base", "vit_base_patch16_224")
CROWDED = 1024 * 2**16  # photos from which on most lists of the search for near-duplicates are passed over
ABOUT = f"""Computed, not measured: n photos of {DRAWN}, {TRAINED:.0%} of which are trained on, with c cores and g GPUs,
from the sections named.

* split takes a + b·n + q·n² + d·n/c. The square is the search for near-duplicates, whose lists of what is alike in a
  quarter of a hash grow with the photos: q is that of random hashes in Duplicates. a and b are those of the two larger
  counts of Growth (b has a little of the square in it), without the part that cores share as far as "on one core" there
  shows any; d is a core's time for a photo in Audit. From {CROWDED / 1e6:.0f} million photos on the search passes over
  most of these lists: it takes no longer, and misses copies that are no neighbours in a sorted order of hashes.
* preprocess takes a + b·n + d·n/c, likewise from Growth and Preprocess. A photo is stored in {{stored:,}} bytes and a
  row. DVC adds a file for every {{shard}} photos, each in the time that Packing gives for one.
* train takes {TRAINED}·n/(g·r) an epoch; r are the photos/s of Training on a GPU, and g GPUs are taken to be g times as
  fast.
* predict takes d·n/c with mobilenetv2_100 on cores, from Prediction.

Memory is that at {COUNTS[2]:,} photos in Growth and, for each more, what a further photo costs there; what training
holds of a photo is in Memory. {{constants}}."""


@dataclass(frozen=True)
class Stage:
    """Seconds: alone + fixed·n + square·n² (n up to CROWDED), and those of a photo that cores share."""

    alone: float
    fixed: float
    square: float
    shared: float

    def seconds(self, photos: int, cores: int) -> float:
        """On so many cores."""
        return self.alone + self.fixed * photos + self.square * min(photos, CROWDED) ** 2 + self.shared * photos / cores


def run() -> Section:
    """The table; nothing is measured."""
    split = _stage("split", "Audit", "960 photos", _square())
    preprocess = _stage("preprocess", "Preprocess", "960 photos", 0.0)
    adding = number(found("Packing", ["`dvc add data`"], f"{FILES:,} files")) / FILES * len(STARTS_SHARD) / 16
    stored = 3 * int(np.prod(stored_size(*ORIGINALS, SIDE)))
    speeds = {name: number(found("Training on a GPU", [f"{name}, bf16"], "photos/s")) for name in MODELS}
    predicted = _core_seconds("Prediction", "512 drawn", "florafauna", [MODEL])
    rows = []
    for photos in PHOTOS:
        for stage, cost in (("split", split), ("preprocess", preprocess)):
            disk = _per_photo(stage, "disk") + (stored - 3 * STORE_SIZE**2 if stage == "preprocess" else 0)
            times = [_time(cost.seconds(photos, cores)) for cores, _ in HARDWARE]
            rows.append((f"{photos:,}", stage, *times, _memory(stage, photos), f"{disk * photos / 1e9:,.0f} GB"))
        rows.append((f"{photos:,}", "DVC, data/processed", *[_time(adding * photos)] * 2, "", ""))
        for name, speed in speeds.items():
            times = [_time(TRAINED * photos / speed / gpus) for _, gpus in HARDWARE]
            rows.append((f"{photos:,}", f"train, an epoch of {name}", *times, "", ""))
        rows.append((f"{photos:,}", "predict", *(_time(predicted * photos / cores) for cores, _ in HARDWARE), "", ""))
    constants = "; ".join(
        [
            f"{name}: a = {cost.alone:.1f} s, b = {1e3 * cost.fixed:.3f} ms, q = {cost.square:.2g} s, "
            f"d = {1e3 * cost.shared:.2f} ms"
            for name, cost in (("split", split), ("preprocess", preprocess))
        ]
        + [f"predict: d = {1e3 * predicted:.1f} ms", f"DVC: {1e3 * adding:.3f} ms a photo"]
    )
    about = ABOUT.format(stored=stored, shard=16 // len(STARTS_SHARD), constants=constants)
    hardware = [f"{cores} cores, {gpus} GPU{'s' if gpus > 1 else ''}" for cores, gpus in HARDWARE]
    return Section("On paper", about, ("photos", "stage", *hardware, "memory", "disk"), rows)


def _stage(stage: str, section: str, photos: str, square: float) -> Stage:
    """What Growth says of a stage's time, and `section` of decoding."""
    counts = COUNTS[1:]
    seconds = [number(found("Growth", [stage, "time"], f"{count:,} photos")) for count in counts]
    on_one = number(found("Growth", [stage, "time"], "on one core"))
    cores = cores_of("Growth")
    # Amdahl: on c cores serial + shared / c
    shared = max(0.0, (on_one - seconds[0]) / (1 - 1 / cores)) / counts[0]
    serial = [taken - shared * count / cores for taken, count in zip(seconds, counts, strict=True)]
    fixed = (serial[1] - serial[0]) / (counts[1] - counts[0])
    return Stage(serial[0] - fixed * counts[0], fixed, square, _core_seconds(section, photos, "florafauna"))


def _square() -> float:
    """Seconds for each pair of photos in the search for near-duplicates."""
    half, whole = 50_000, 100_000
    rows = (f"clustering {count:,} photos, random hashes" for count in (half, whole))
    seconds = [number(found("Duplicates", [row], "result")) for row in rows]
    return (seconds[1] - seconds[0] * whole / half) / (whole**2 - half * whole)


def _core_seconds(section: str, photos: str, column: str, first: Sequence[str] = ()) -> float:
    """Seconds of one core for each drawn photo of ORIGINALS; `first` are the cells before that of the photos."""
    return cores_of(section) / number(found(section, [*first, f"{DRAWN}, {photos}"], column))


def _per_photo(stage: str, what: str) -> float:
    """Bytes that a further photo costs, between the two larger counts of Growth."""
    return number(found("Growth", [stage, what], FURTHER[1]))


def _memory(stage: str, photos: int) -> str:
    at_most = 1e6 * number(found("Growth", [stage, "memory"], f"{COUNTS[2]:,} photos"))
    return f"{(at_most + _per_photo(stage, 'memory') * (photos - COUNTS[2])) / 1e9:,.0f} GB"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} d"
