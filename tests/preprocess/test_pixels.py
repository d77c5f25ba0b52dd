"""Decoding, and the pixel store: right colours, right way up, the same bytes every time, nothing decoded twice."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.machines import needs_posix
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from florafauna.base.errors import UserError
from florafauna.photos.sources import open_source
from florafauna.photos.upright import to_rgb
from florafauna.pixels.resize import resize
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._kept import KeptPixels
from florafauna.preprocess._write import build_store
from florafauna.preprocess.decode import LONGEST, TURNS, decode, decoder, stored_size
from florafauna.preprocess.preprocess import preprocess

CORNERS = {(0, 0): (220, 30, 30), (0, 1): (30, 200, 40), (1, 0): (40, 50, 210), (1, 1): (230, 210, 40)}
TURN_BACK = {  # the inverse of TURNS
    **TURNS,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def corners(width: int = 120, height: int = 80) -> Image.Image:
    """Four corners of four colours: any turn or swapped channel shows."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for (y, x), colour in CORNERS.items():
        pixels[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2] = colour
    return Image.fromarray(pixels)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def assert_shows_corners(pixels: np.ndarray, tolerance: int = 4) -> None:
    height, width = pixels.shape[:2]
    for (y, x), colour in CORNERS.items():
        middle = pixels[(2 * y + 1) * height // 4, (2 * x + 1) * width // 4].astype(int)
        assert np.abs(middle - colour).max() <= tolerance, f"corner {y}, {x}: {middle} instead of {colour}"


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Shapes under soft and fine noise, so that a JPEG of it has coefficients of all frequencies."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(20):
        x, y, size = (int(value) for value in rng.integers(0, [width, height, width // 3]))
        draw.ellipse([x, y, x + size, y + size // 2], fill=tuple(int(value) for value in rng.integers(0, 255, 3)))
    fine = Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return Image.blend(image, fine, 0.25)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(form: str, orientation: int) -> None:
    upright = corners()
    turned = upright if orientation == 1 else upright.transpose(TURN_BACK[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    pixels = decode(saved(turned, form, exif=exif, **options), 40, resize)
    assert pixels.shape == (40, 60, 3)
    assert_shows_corners(pixels, tolerance=12)


def test_a_photo_with_broken_exif_is_decoded_as_it_is() -> None:
    assert_shows_corners(decode(saved(corners(), "JPEG", exif=b"Exif\0\0broken", quality=95), 40, resize), tolerance=12)


@pytest.mark.parametrize(("form", "options"), [("JPEG", {"quality": 95}), ("TIFF", {})])
def test_cmyk(form: str, options: dict[str, int]) -> None:
    """Pillow writes JPEGs as Adobe does, inverted and marked so; TIFFs plain."""
    assert_shows_corners(decode(saved(corners().convert("CMYK"), form, **options), 40, resize), tolerance=12)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = corners() if mode != "LA" else Image.new("L", (120, 80), 60)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 60, 80))
    if mode == "P":
        palette = image.quantize(8)
        clear = palette.getpixel((5, 5))
        data = saved(palette, "PNG", transparency=clear)
        pixels = decode(data, 80, resize)
        assert (pixels[20, 30] == 255).all(), "the transparent palette entry"
        assert np.abs(pixels[20, 90].astype(int) - CORNERS[0, 1]).max() <= 4
        return
    if mode == "PA":
        picture = image.quantize(8).convert("PA")
        picture.putalpha(alpha)
    else:
        picture = image.convert("L" if mode == "LA" else "RGB")
        picture.putalpha(alpha)
    assert picture.mode == mode
    pixels = np.asarray(to_rgb(picture))
    assert (pixels[:, :60] == 255).all()
    expected = (60, 60, 60) if mode == "LA" else CORNERS[0, 1]
    assert np.abs(pixels[20, 90].astype(int) - expected).max() <= 4
    if mode in ("RGBA", "LA"):
        assert np.array_equal(decode(saved(picture, "PNG"), 80, resize), pixels)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(form: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(64, 0)
    pixels = decode(saved(Image.fromarray(ramp), form), 64, resize)
    assert np.array_equal(pixels, np.arange(256, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2))


@pytest.mark.parametrize(("brightest", "expected"), [(1, 255), (200, 200), (255, 255), (3000, 255)])
def test_floating_point_grey_goes_up_to_1_or_255_or_to_its_brightest_pixel(brightest: float, expected: int) -> None:
    ramp = np.linspace(0, brightest, expected + 1, dtype=np.float32)[None].repeat(expected + 1, 0)
    pixels = decode(saved(Image.fromarray(ramp), "TIFF"), expected + 1, resize)
    assert np.array_equal(pixels[0, :, 0], np.arange(expected + 1))


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_bilevel_become_rgb(mode: str) -> None:
    half = Image.new("L", (64, 64), 255)
    half.paste(0, (0, 0, 32, 64))
    pixels = decode(saved(half.convert(mode), "PNG"), 64, resize)
    assert (pixels[:, :32] == 0).all()
    assert (pixels[:, 32:] == 255).all()


@pytest.mark.parametrize(("width", "height"), [(800, 600), (600, 800), (1500, 1100), (801, 599)])
def test_a_reduced_decode_is_close_to_the_full_one(width: int, height: int) -> None:
    data = saved(photograph(width, height), "JPEG", quality=90)
    pixels = decode(data, 256, resize)
    full = Image.open(io.BytesIO(data)).resize(pixels.shape[1::-1], Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(full).astype(int) - pixels)
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 10


def test_resizing_agrees_with_pillow() -> None:
    image = photograph(300, 200)
    for mode, resampling in (("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)):
        for height, width in ((96, 120), (260, 390)):
            expected = np.asarray(image.resize((width, height), resampling)).astype(int)
            difference = np.abs(resize(np.array(image), height, width, mode) - expected)
            assert difference.max() <= 2
            assert difference.mean() < 0.2
    with pytest.raises(UserError, match="lanczos"):
        resize(np.array(image), 10, 10, "lanczos")


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(8, 64), st.sampled_from([1, 6]))
def test_the_stored_size_is_known_beforehand(width: int, height: int, store_size: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(saved(Image.new("RGB", (width, height)), "JPEG", exif=exif), store_size, resize)
    upright = (width, height) if orientation == 1 else (height, width)
    assert pixels.shape == (*stored_size(*upright, store_size), 3)
    assert min(pixels.shape[:2]) == store_size
    assert max(pixels.shape[:2]) <= LONGEST * store_size


def test_of_a_panorama_the_middle_is_kept() -> None:
    image = Image.new("RGB", (2000, 20), "red")
    image.paste((0, 0, 255), (960, 0, 1040, 20))
    pixels = decode(saved(image, "PNG"), 40, resize)
    assert pixels.shape == (40, 160, 3)
    assert (pixels[:, 2:-2] == (0, 0, 255)).all()


# the store


class CountingSource:
    """A folder that notes what is read from it."""

    def __init__(self, root: Path) -> None:
        self.source, self.read_paths = open_source(root), list[str]()

    def read(self, path: str) -> bytes:
        self.read_paths.append(path)
        return self.source.read(path)


class KillingSource:
    """A folder whose reader is killed at a certain photo, as by the out-of-memory killer."""

    def __init__(self, root: Path, path: str) -> None:
        self.root, self.path = root, path

    def read(self, path: str) -> bytes:
        if path == self.path:
            os.kill(os.getpid(), signal.SIGKILL)
        return (self.root / path).read_bytes()


def draw_photos(root: Path, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        folder = root / ("daisy" if number % 2 else "rose")
        folder.mkdir(parents=True, exist_ok=True)
        size = (90 + 7 * (number % 5), 70 + 11 * (number % 3))
        form = "PNG" if number % 4 == 0 else "JPEG"
        photograph(*size, seed=number).save(folder / f"{number:03d}.{form.lower()}", form)


def manifest_of(root: Path) -> pd.DataFrame:
    rows = []
    for file in sorted(root.glob("*/*")):
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        path = file.relative_to(root).as_posix()
        rows.append(
            {
                "path": path,
                "label": file.parent.name,
                "target": int(file.parent.name == "rose"),
                "split": ("train", "train", "val", "test")[int(hashlib.sha256(path.encode()).hexdigest(), 16) % 4],
                "held_out": "",
                "group": "",
                "cluster": "",
                "sha256": hashlib.sha256(data).hexdigest(),
                "width": width,
                "height": height,
            }
        )
    return pd.DataFrame(rows)


LABELS = ["daisy", "rose"]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def test_the_store_holds_every_photo_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 9)
    rows = manifest_of(tmp_path / "photos")
    assert build_store(rows, LABELS, open_source(tmp_path / "photos"), tmp_path / "store", 48) == 9
    store = PixelStore(tmp_path / "store")
    assert len(store) == 9
    assert list(store.names) == sorted(rows["path"])
    assert [store.row_of(path) for path in store.names] == list(range(len(store)))
    assert [store.row_of(path) for path in ("", "zzz", f"{store.names[0]}x")] == [None] * 3
    assert store.labels == LABELS
    assert store.store_size == 48
    assert list(store.targets) == list(rows["target"])
    assert {
        "path",
        "label",
        "target",
        "held_out",
        "group",
        "cluster",
        "sha256",
        "height",
        "width",
        "shard",
        "offset",
        "checksum",
    } == set(store.table().columns)
    for row, path in enumerate(rows["path"]):
        assert np.array_equal(store.photo(row), decode((tmp_path / "photos" / path).read_bytes(), 48, resize))
    with pytest.raises(ValueError, match="read-only"):
        store.photo(0)[0, 0, 0] = 1


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 80)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    for workers in (1, 2):
        build_store(rows, LABELS, source, tmp_path / f"store{workers}", 32, workers=workers)
    assert bytes_of(tmp_path / "store1") == bytes_of(tmp_path / "store2")


def test_a_split_without_photos_has_a_store(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 2)
    rows = manifest_of(tmp_path / "photos")
    build_store(rows[:0], LABELS, open_source(tmp_path / "photos"), tmp_path / "store", 32)
    store = PixelStore(tmp_path / "store")
    assert (len(store), list(store.names), store.labels) == (0, [], LABELS)


def test_adding_a_photo_decodes_one_photo(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 12)
    build_store(manifest_of(root), LABELS, open_source(root), tmp_path / "out/train", 48)
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        kept.keep(tmp_path / "out/train")
    draw_photos(root, 1, first=100)  # rose/100.png sorts between others
    source, rows = CountingSource(root), manifest_of(root)
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        assert build_store(rows, LABELS, source, tmp_path / "again/train", 48, kept) == 1
    assert source.read_paths == ["rose/100.png"]
    build_store(rows, LABELS, open_source(root), tmp_path / "fresh/train", 48)
    assert bytes_of(tmp_path / "again/train") == bytes_of(tmp_path / "fresh/train")


def test_a_new_photo_changes_the_file_it_falls_into_and_no_other(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 80)
    build_store(manifest_of(root), LABELS, open_source(root), tmp_path / "before", 16)
    draw_photos(root, 1, first=101)  # daisy/101.jpeg, between daisies and roses
    build_store(manifest_of(root), LABELS, open_source(root), tmp_path / "after", 16)
    before, after = bytes_of(tmp_path / "before/pixels"), bytes_of(tmp_path / "after/pixels")
    assert len(before) > 4
    assert len(before.keys() - after.keys()) <= 1
    assert len(after.keys() - before.keys()) in (1, 2)
    assert all(after[name] == before[name] for name in after.keys() & before.keys())


def test_equal_photos_in_a_row_are_stored(tmp_path: Path) -> None:
    """The same shard is then needed several times, or a shard holds the same photo several times."""
    for number in range(16):
        draw_photos(tmp_path / f"{number}/photos", 1, first=number)
        root = tmp_path / f"{number}/photos/{'daisy' if number % 2 else 'rose'}"
        data = next(root.iterdir()).read_bytes()
        for copy in range(3):
            (root / f"copy{copy}.png").write_bytes(data)
        rows = manifest_of(tmp_path / f"{number}/photos")
        assert build_store(rows, LABELS, open_source(tmp_path / f"{number}/photos"), tmp_path / f"{number}/store", 16)
        store = PixelStore(tmp_path / f"{number}/store")
        assert all(np.array_equal(store.photo(row), decode(data, 16, resize)) for row in range(4))


def test_shards_that_no_store_has_any_more_are_dropped(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20)
    run_preprocess(tmp_path)
    for file in (tmp_path / "photos").glob("rose/*"):
        file.unlink()
    assert run_preprocess(tmp_path) == 0
    kept = {file.name for file in tmp_path.glob("kept/*/shards/*")}
    assert kept == {file.name for file in tmp_path.glob("processed/*/pixels/*")}


def test_damage_to_what_is_kept_is_made_good(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20)
    run_preprocess(tmp_path)
    before = bytes_of(tmp_path / "processed")
    shutil.rmtree(tmp_path / "processed")
    kept = sorted(tmp_path.glob("kept/*/shards/*"))
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    kept[1].unlink()
    assert 0 < run_preprocess(tmp_path) < 20
    assert bytes_of(tmp_path / "processed") == before
    next(tmp_path.glob("kept/*/train.parquet")).write_bytes(b"PAR1")
    shutil.rmtree(tmp_path / "processed")
    run_preprocess(tmp_path)
    assert bytes_of(tmp_path / "processed") == before


@pytest.mark.parametrize("damage", ["cut", "zeros", "split", "label", "number", "absent", "empty"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, damage: str) -> None:
    draw_photos(tmp_path / "photos", 20)
    run_preprocess(tmp_path)
    manifest = tmp_path / "manifest.csv"
    text = manifest.read_text(encoding="utf-8")
    cut = len(text) - 40
    first = text.splitlines()[1]
    damaged = {
        "cut": text[:cut],
        "zeros": text[:cut] + "\0" * 40,
        "split": text.replace(",train,", ",tsain,", 1),
        "label": text.replace(first, first.replace(",rose,", ",rnse,").replace(",daisy,", ",dainy,")),
        "number": text.replace(",0,", ",p,", 1),
        "empty": "",
    }
    if damage == "absent":
        manifest.unlink()
    else:
        manifest.write_text(damaged[damage], encoding="utf-8")
    args = (manifest, tmp_path / "photos", tmp_path / "again", 48, tmp_path / "kept")
    with pytest.raises(UserError, match=r"manifest\.csv (is missing|is not as the split stage wrote it)"):
        preprocess(*args, workers=1)


def run_preprocess(tmp_path: Path, store_size: int = 48) -> int:
    manifest = manifest_of(tmp_path / "photos")
    manifest.to_csv(tmp_path / "manifest.csv", index=False, lineterminator="\n")
    args = (tmp_path / "manifest.csv", tmp_path / "photos", tmp_path / "processed", store_size, tmp_path / "kept")
    return preprocess(*args, workers=1)


@needs_posix
def test_preprocess_decodes_only_what_is_new(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20)
    assert run_preprocess(tmp_path) == 20
    before = bytes_of(tmp_path / "processed")
    for file in (tmp_path / "processed").rglob("*"):  # DVC makes its files read-only and removes outs before a run
        if file.is_file():
            file.chmod(0o444)
            file.unlink()
    assert run_preprocess(tmp_path) == 0
    assert bytes_of(tmp_path / "processed") == before
    draw_photos(tmp_path / "photos", 3, first=50)
    (tmp_path / "photos/daisy/051.jpeg").write_bytes((tmp_path / "photos/daisy/001.jpeg").read_bytes())
    assert run_preprocess(tmp_path) == 2, "051 has the content of 001"
    assert run_preprocess(tmp_path, store_size=40) == 23
    assert sum(len(PixelStore(tmp_path / "processed" / split)) for split in ("train", "val", "test")) == 23


def test_a_photo_that_changed_its_split_is_not_decoded_again(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 10)
    rows, source = manifest_of(root), CountingSource(root)
    for turn, splits in enumerate((["a"] * 5 + ["b"] * 5, ["b"] * 5 + ["a"] * 5)):
        with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
            for split in ("a", "b"):
                chosen = rows[np.array(splits) == split]
                build_store(chosen, LABELS, source, tmp_path / f"{turn}/{split}", 48, kept)
                kept.keep(tmp_path / f"{turn}/{split}")
    assert len(source.read_paths) == 10
    assert bytes_of(tmp_path / "0/a/pixels") == bytes_of(tmp_path / "1/b/pixels")


def test_pixels_of_another_decoder_are_not_reused(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 4)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    build_store(rows, LABELS, source, tmp_path / "train", 48)
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        kept.keep(tmp_path / "train")
    with KeptPixels(tmp_path / "kept", "another", 48) as kept:
        assert build_store(rows, LABELS, source, tmp_path / "again", 48, kept) == 4
    assert not list((tmp_path / "kept").glob("*/train")), "and what is of no more use takes no room"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system, to which nothing of `tmp_path` can be linked."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_where_nothing_can_be_linked_pixels_are_copied_and_that_is_said_once(
    tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_photos(tmp_path / "photos", 12)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    build_store(rows, LABELS, source, elsewhere / "train", 48)
    with KeptPixels(elsewhere / "kept", decoder(), 48) as kept:
        kept.keep(elsewhere / "train")
    assert capsys.readouterr().err == ""
    with KeptPixels(elsewhere / "kept", decoder(), 48) as kept:
        for split in ("train", "val"):
            assert build_store(rows, LABELS, source, tmp_path / split, 48, kept) == 0
            kept.keep(tmp_path / split)
    (said,) = capsys.readouterr().err.splitlines()
    assert "cannot be linked" in said
    assert "what is kept is copied" in said
    assert bytes_of(tmp_path / "train") == bytes_of(elsewhere / "train")


def test_where_pixels_cannot_be_kept_that_is_said_once(
    tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_photos(tmp_path / "photos", 4)
    rows, source = manifest_of(tmp_path / "photos"), open_source(tmp_path / "photos")
    (tmp_path / "file").write_bytes(b"where the folder should be")
    for folder, words in ((elsewhere / "kept", "the next run decodes its photos again"), (tmp_path / "file", "and so")):
        with KeptPixels(folder, decoder(), 48) as kept:
            for split in ("train", "val"):
                assert build_store(rows, LABELS, source, tmp_path / split, 48, kept) == 4
                kept.keep(tmp_path / split)
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("preprocess: ")
        assert words in said


KILLED = """
import sys
from pathlib import Path
import pandas as pd
from test_pixels import LABELS, KillingSource, manifest_of
from florafauna.preprocess._write import build_store
root, out = map(Path, sys.argv[1:])
rows = manifest_of(root)
build_store(rows, LABELS, KillingSource(root, rows["path"].iloc[-1]), out, 48, workers=1)
"""


@needs_posix
def test_a_killed_build_leaves_no_store(tmp_path: Path, repository: Path) -> None:
    root, out = tmp_path / "photos", tmp_path / "store"
    draw_photos(root, 40)
    rows = manifest_of(root)
    build_store(rows, LABELS, open_source(root), tmp_path / "whole", 48)
    build_store(rows, LABELS, open_source(root), out, 48)
    folders = (repository, repository / "tests", Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    killed = subprocess.run([sys.executable, "-c", KILLED, root, out], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="no stored photos"):
        PixelStore(out)
    assert build_store(rows, LABELS, open_source(root), out, 48) == 40
    assert all(bytes_of(out)[name] == data for name, data in bytes_of(tmp_path / "whole").items())


@needs_posix
def test_a_killed_worker_is_said_in_a_sentence(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 3)
    rows = manifest_of(tmp_path / "photos")
    source = KillingSource(tmp_path / "photos", rows["path"].iloc[1])
    with pytest.raises(UserError, match="killed"):
        build_store(rows, LABELS, source, tmp_path / "store", 48, workers=2)
    assert not bytes_of(tmp_path / "store")


@pytest.mark.parametrize("change", ["truncated", "missing", "other size"])
def test_a_photo_that_changed_since_the_split_is_named(tmp_path: Path, change: str) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 4)
    rows = manifest_of(root)
    file = root / "daisy/003.jpeg"
    if change == "truncated":
        file.write_bytes(file.read_bytes()[:300])
    elif change == "missing":
        file.unlink()
    else:
        Image.new("RGB", (200, 50)).save(file)
    with pytest.raises(UserError, match=r"daisy/003\.jpeg .*dvc repro"):
        build_store(rows, LABELS, open_source(root), tmp_path / "store", 48)
    assert not bytes_of(tmp_path / "store")


def test_an_incomplete_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stored photos"):
        PixelStore(tmp_path)
    draw_photos(tmp_path / "photos", 4)
    rows = manifest_of(tmp_path / "photos")
    build_store(rows, LABELS, open_source(tmp_path / "photos"), tmp_path / "store", 48)
    shard = next((tmp_path / "store/pixels").iterdir())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="dvc checkout"):
        PixelStore(tmp_path / "store")
    shard.unlink()
    with pytest.raises(UserError, match="holds 0 bytes"):
        PixelStore(tmp_path / "store")
    shard.write_bytes(whole)
    PixelStore(tmp_path / "store")
    (tmp_path / "store/index.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="dvc checkout"):
        PixelStore(tmp_path / "store")


def damage(file: Path, how: str) -> None:
    """As a disk does, without a new time of change."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    if how == "zeroed":
        data[: len(data) // 2] = bytes(len(data) // 2)
    else:
        data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("how", ["zeroed", "a bit flipped"])
def test_kept_pixels_that_were_changed_are_said_once_and_decoded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    draw_photos(tmp_path / "photos", 40)
    run_preprocess(tmp_path)
    before = bytes_of(tmp_path / "processed")
    shutil.rmtree(tmp_path / "processed")
    shards = sorted(tmp_path.glob("kept/*/shards/*"))
    for shard in shards[:2]:
        damage(shard, how)
    capsys.readouterr()
    assert 0 < run_preprocess(tmp_path) < 40
    (said,) = capsys.readouterr().err.splitlines()
    assert "was damaged on disk" in said
    assert bytes_of(tmp_path / "processed") == before
    damage(next(tmp_path.glob("kept/*/train.parquet")), "zeroed")
    shutil.rmtree(tmp_path / "processed")
    run_preprocess(tmp_path)
    assert "was damaged on disk" in capsys.readouterr().err
    assert bytes_of(tmp_path / "processed") == before
    assert run_preprocess(tmp_path) == 0
    assert capsys.readouterr().err == ""


def test_a_copied_photo_of_a_changed_kept_file_is_decoded_again(tmp_path: Path) -> None:
    """A new photo changes the shard that it falls into, whose other photos are copied."""
    root = tmp_path / "photos"
    draw_photos(root, 12)
    build_store(manifest_of(root), LABELS, open_source(root), tmp_path / "out/train", 48)
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        kept.keep(tmp_path / "out/train")
    draw_photos(root, 1, first=100)
    rows = manifest_of(root)
    for shard in tmp_path.glob("kept/*/shards/*"):
        damage(shard, "a bit flipped")
    with KeptPixels(tmp_path / "kept", decoder(), 48) as kept:
        assert build_store(rows, LABELS, open_source(root), tmp_path / "again/train", 48, kept) == 13
    build_store(rows, LABELS, open_source(root), tmp_path / "fresh/train", 48)
    assert bytes_of(tmp_path / "again/train") == bytes_of(tmp_path / "fresh/train")


def test_files_that_do_not_belong_there_are_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_photos(tmp_path / "photos", 8)
    run_preprocess(tmp_path)
    (folder,) = tmp_path.glob("kept/*/")
    for file in (
        tmp_path / "kept/.DS_Store",
        folder / ".DS_Store",
        folder / "shards/.DS_Store",
        folder / "._a.parquet",
    ):
        file.write_bytes(b"\0\0\0\1Bud1")
    (folder / "shards/folder").mkdir()
    assert run_preprocess(tmp_path) == 0
    assert run_preprocess(tmp_path, 40) == 8
    assert capsys.readouterr().err == ""


def test_a_photo_replaced_by_another_of_the_same_size_is_named(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw_photos(root, 8)
    rows = manifest_of(root)
    whole = (root / "daisy/003.jpeg").read_bytes()
    with Image.open(root / "daisy/003.jpeg") as image:
        photograph(*image.size, seed=99).save(root / "daisy/003.jpeg")
    with pytest.raises(UserError, match=r"daisy/003\.jpeg is not what it was .*its content is another.*dvc repro"):
        build_store(rows, LABELS, open_source(root), tmp_path / "store", 48)
    assert not bytes_of(tmp_path / "store")
    (root / "daisy/003.jpeg").write_bytes(whole)
    assert build_store(rows, LABELS, open_source(root), tmp_path / "store", 48) == 8


def test_stores_are_held_against_their_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_photos(tmp_path / "photos", 8)
    build_store(manifest_of(tmp_path / "photos"), LABELS, open_source(tmp_path / "photos"), Path("store"), 48)
    PixelStore(Path("store")).verify()
    index, shard = Path("store/index.parquet"), sorted(Path("store/pixels").iterdir())[0]
    whole = index.read_bytes()
    index.write_bytes(whole.replace(b"daisy", b"doisy"))
    with pytest.raises(UserError, match=r"index\.parquet cannot be read .*dvc checkout store"):
        PixelStore(Path("store")).verify()
    index.write_bytes(whole)
    damage(shard, "zeroed")
    with pytest.raises(UserError, match=rf"{shard.name} was damaged on disk .*delete it and run `dvc checkout store`"):
        PixelStore(Path("store")).verify()


def test_a_damaged_object_of_dvcs_cache_is_named_and_deleting_it_mends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc checkout` cannot: DVC takes an object to be what its name says."""
    monkeypatch.chdir(tmp_path)

    def dvc(*command: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *command, "-q"], check=True)

    draw_photos(tmp_path / "photos", 8)
    build_store(manifest_of(tmp_path / "photos"), LABELS, open_source(tmp_path / "photos"), Path("store"), 48)
    dvc("init", "--no-scm")
    dvc("add", "store")
    shard = sorted(Path("store/pixels").iterdir())[0]
    md5 = hashlib.md5(shard.read_bytes()).hexdigest()
    copy = Path(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    whole = copy.read_bytes()
    damage(copy, "zeroed")
    copy.chmod(0o444)
    shutil.rmtree("store")
    dvc("checkout")
    with pytest.raises(UserError, match=f"so was {copy}, DVC's own copy: delete both and run `dvc pull`"):
        PixelStore(Path("store")).verify()
    copy.unlink()
    shard.unlink()
    copy.write_bytes(whole)  # as `dvc pull` fetches it
    dvc("checkout")
    PixelStore(Path("store")).verify()
