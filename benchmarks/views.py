"""Training views from the pixel store, against decoding the originals in every epoch."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from timm.data import create_transform
from torchvision.datasets import ImageFolder

from benchmarks.photos import draw_folder
from benchmarks.results import Section
from benchmarks.timing import pairs, per_second
from florafauna.model.settings import Augment
from florafauna.photos.sources import open_source
from florafauna.pixels.loading import Loader, normalise
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store
from florafauna.training.augment._view import TrainView

SIZE, STORE_SIZE, BATCH = 224, 256, 32
POLICY = "rand-m9-mstd0.5-inc1"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETS = (  # width, height, different photos, photos, interpolation
    (800, 600, 32, 160, "bicubic"),
    (800, 600, 32, 160, "bilinear"),
    (4000, 3000, 4, 8, "bicubic"),
)
ABOUT = f"""Training views of {SIZE} px with `{POLICY}`, one process on one core, processor time.
Peer: torchvision's `ImageFolder` on the originals with timm's `create_transform((3, {SIZE}, {SIZE}), is_training=True,
auto_augment="{POLICY}", interpolation=...)`: bicubic as in presets/flora-fauna.yaml, bilinear as is
timm's default. florafauna: `Loader` on the store ({STORE_SIZE} px) with the same interpolation, but that RandAugment
moves nearest pixels. Its batches are uint8, to be normalised on the device; "normalised" does that on the same core, as
training without a GPU has to."""


def run() -> Section:
    """Views per second and core, from photos of two sizes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for width, height, different, count, interpolation in SETS:
        with TemporaryDirectory() as folder:
            root, name = Path(folder), f"{width}×{height} originals, {interpolation}"
            theirs, ours, ours_normalised = _ways(root, width, height, different, count, interpolation)
            rows.append(_row(name, count, theirs, ours))
            rows.append(_row(f"{name}, normalised", count, theirs, ours_normalised))
    torch.set_num_threads(threads)
    return Section("Training views", ABOUT, ("what", "ImageFolder + timm", "florafauna", "times faster"), rows)


def _row(name: str, count: int, theirs: Callable[[], None], ours: Callable[[], None]) -> tuple[str, ...]:
    timed = pairs(theirs, ours, clock=time.process_time)
    return name, per_second(count, timed.theirs), per_second(count, timed.ours), timed.ratio


def _ways(
    root: Path, width: int, height: int, different: int, count: int, interpolation: str
) -> tuple[Callable[[], None], ...]:
    manifest = draw_folder(root / "photos", width, height, different, count)
    build_store(manifest, ["class0", "class1"], open_source(root / "photos"), root / "store", STORE_SIZE)
    transform = create_transform((3, SIZE, SIZE), is_training=True, auto_augment=POLICY, interpolation=interpolation)
    peer = ImageFolder(str(root / "photos"), transform)
    view = TrainView(SIZE, interpolation, Augment(rand_augment=POLICY), MEAN, seed=0)
    loader, epoch = Loader(PixelStore(root / "store"), view, BATCH), iter(range(10**6))

    def theirs() -> None:
        for row in range(count):
            peer[row]

    def ours() -> None:
        for _ in loader.batches(range(count), next(epoch)):
            pass

    def ours_normalised() -> None:
        for batch in loader.batches(range(count), next(epoch)):
            normalise(batch.images, MEAN, STD)

    return theirs, ours, ours_normalised
