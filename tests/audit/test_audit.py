"""The audit: every bad file becomes a row with its reason, every good one a row of facts, and nothing is raised."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.drawn import CrashingSource, ListingSource, saved, scene, write
from helpers.machines import needs_posix
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, features

from florafauna.audit.audit import WORTH_IMPORTS, Audit, audit
from florafauna.audit.examine import examine
from florafauna.photos.kinds import Reason, extension_matches, printable
from florafauna.photos.sources import FolderSource, open_source
from florafauna.photos.upright import TURNS
from florafauna.pixels.resize import resize
from florafauna.preprocess.decode import decode

JPEG = saved(scene(1), quality=85)
PROGRESSIVE = saved(scene(1), quality=85, progressive=True)
PNG = saved(scene(1, 160, 120), "PNG")
WEBP = saved(scene(1, 160, 120), "WEBP")


def audited(root: Path, *paths: str) -> pd.DataFrame:
    return audit(FolderSource(root), paths).table.set_index("path")


def reason_of(root: Path, path: str) -> str:
    return str(audited(root, path).loc[path, "reason"])


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, with one short compressed row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


# ---- files that cannot be used

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(200)
BAD_CONTENT = {
    "empty.jpg": (b"", "empty"),
    "text.jpg": (b"<html>404 Not Found</html>\n" * 20, "not_an_image"),
    "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not_an_image"),
    "cut.jpg": (JPEG[: len(JPEG) * 2 // 3], "truncated"),
    "cut_by_little.jpg": (JPEG[:-200], "truncated"),
    "cut_in_header.jpg": (JPEG[:100], "truncated"),
    "cut_progressive.jpg": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "truncated"),
    "zeros.jpg": (JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), "truncated"),
    "all_zeros.jpg": (bytes(5000), "not_an_image"),
    "cut.png": (PNG[: len(PNG) // 2], "truncated"),
    "cut.webp": (WEBP[: len(WEBP) // 2], ("truncated", "corrupt")),
    "cut.gif": (saved(scene(1), "GIF")[:9000], "truncated"),
    "cut.bmp": (saved(scene(1), "BMP")[:9000], "truncated"),
    "cut.tif": (saved(scene(1), "TIFF", compression="tiff_lzw")[:9000], ("truncated", "corrupt")),
    "damaged.png": (PNG[:1000] + bytes(1000) + PNG[2000:], "corrupt"),
    "bomb.png": (png_of(60_000, 60_000), "too_large"),
    "small_bomb.png": (png_of(14_000, 13_000), "too_large"),  # above Pillow's limit for a warning, not for an error
    "photo.heic": (HEIC, "unsupported"),
    "renamed_heic.jpg": (HEIC, "unsupported"),
    "renamed_video.jpg": (MP4, "unsupported"),
    "webm.jpg": (b"\x1a\x45\xdf\xa3" + bytes(100), "unsupported"),
    "clip.MP4": (MP4, "unsupported"),
    "clip.avi": (b"RIFF\0\0\0\0AVI LIST", "unsupported"),
    "photo.NEF": (saved(scene(1, 160, 120), "TIFF"), "unsupported"),  # Pillow would open it
    "photo.cr2": (b"II*\0" + bytes(100), "unsupported"),
    "photo.dng": (b"II*\0" + bytes(100), "unsupported"),
    "photo.raf": (b"FUJIFILMCCD-RAW", "unsupported"),
}


@pytest.mark.parametrize("name", BAD_CONTENT)
def test_unusable_content_is_a_row_with_its_reason(tmp_path: Path, name: str) -> None:
    content, reason = BAD_CONTENT[name]
    row = audited(tmp_path, write(tmp_path, name, content)).loc[name]
    assert row["reason"] in ((reason,) if isinstance(reason, str) else reason), row["detail"]
    assert row["detail"]
    assert "\n" not in row["detail"]
    assert (row["width"], row["height"]) == (0, 0)


def test_a_bad_file_has_no_picture_to_be_found_by(tmp_path: Path) -> None:
    found = audit(FolderSource(tmp_path), [write(tmp_path, "cut.jpg", JPEG[:3000])])
    assert not found.hashes.any()
    assert not found.thumbnails.any()


def test_a_missing_file(tmp_path: Path) -> None:
    write(tmp_path, "file.jpg", JPEG)
    assert reason_of(tmp_path, "gone.jpg") == "missing_file"
    assert reason_of(tmp_path, "file.jpg/gone.jpg") == "missing_file"


@needs_posix
def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")  # reading it would wait for ever
    assert reason_of(tmp_path, "folder.jpg") == "not_a_file"
    assert reason_of(tmp_path, "pipe.jpg") == "not_a_file"


@needs_posix
def test_a_symlink_loop(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").symlink_to("other.jpg")
    (tmp_path / "other.jpg").symlink_to("one.jpg")
    assert reason_of(tmp_path, "one.jpg") == "symlink_loop"
    assert [(gone.path, gone.reason) for gone in FolderSource(tmp_path).refused()] == [
        ("one.jpg", "symlink_loop"),
        ("other.jpg", "symlink_loop"),
    ]


@needs_posix
def test_a_link_to_a_photo_is_that_photo(tmp_path: Path) -> None:
    write(tmp_path, "real.jpg", JPEG)
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    table = audited(tmp_path, "real.jpg", "link.jpg")
    assert list(table["reason"]) == ["", ""]
    assert table["sha256"].nunique() == 1


@needs_posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path: Path) -> None:
    write(tmp_path, "locked.jpg", JPEG)
    (tmp_path / "locked.jpg").chmod(0)
    assert reason_of(tmp_path, "locked.jpg") == "unreadable"


def test_a_path_that_leaves_the_root_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "secret.jpg", JPEG)
    (tmp_path / "photos").mkdir()
    assert reason_of(tmp_path / "photos", "../secret.jpg") == "unreadable"


def test_names_that_no_table_can_hold(tmp_path: Path) -> None:
    names = [
        write(tmp_path, "two\nlines.jpg", JPEG),
        write(tmp_path, "tab\t.jpg", JPEG),
        write(tmp_path, b"latin-\xe9.jpg", JPEG),
    ]
    table = audited(tmp_path, *names, "nul\0.jpg", "x" * 300 + ".jpg")
    assert list(table["reason"]) == ["bad_name"] * 5
    for text in table["detail"]:
        text.encode("utf-8")
    assert [printable(name) for name in names] == ["two\\x0alines.jpg", "tab\\x09.jpg", "latin-\\xe9.jpg"]


@given(st.binary(min_size=1, max_size=40))
def test_any_name_can_be_printed_on_one_line(name: bytes) -> None:
    text = printable(name.decode("utf-8", "surrogateescape"))
    text.encode("utf-8")
    assert len(text.splitlines()) <= 1
    assert printable(text) == text


@pytest.mark.parametrize("name", ["Gänseblümchen.jpg", "写真/猿.jpg", 'a b/c,d "e".jpg', "🌼.jpg", "no_extension"])
def test_other_names_are_good(tmp_path: Path, name: str) -> None:
    assert reason_of(tmp_path, write(tmp_path, name, JPEG)) == ""


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)  # takes no space
    assert reason_of(tmp_path, "huge.jpg") == "too_large"


def test_members_of_damaged_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("good.jpg", JPEG)
        archive.writestr("bad.jpg", PROGRESSIVE)
    content = bytearray((tmp_path / "photos.zip").read_bytes())
    content[content.find(PROGRESSIVE) + 500] ^= 255  # its checksum is then wrong
    (tmp_path / "photos.zip").write_bytes(content)
    table = audited(tmp_path, "photos.zip/good.jpg", "photos.zip/bad.jpg", "photos.zip/none.jpg")
    assert list(table["reason"]) == ["", "unreadable", "missing_file"]


def test_members_of_an_archive_that_is_cut(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.size = len(JPEG)
            archive.addfile(info, io.BytesIO(JPEG))
    whole = (tmp_path / "photos.tar").read_bytes()
    (tmp_path / "photos.tar").write_bytes(whole[: len(JPEG) * 2])
    source = open_source(tmp_path)
    table = audit(source, [*source.files(), "photos.tar/0.jpg"][-3:]).table
    assert set(table["reason"]) <= {"", *Reason}  # and nothing was raised


def test_every_reason_is_of_the_list(tmp_path: Path) -> None:
    names = [write(tmp_path, name, content) for name, (content, _) in BAD_CONTENT.items()]
    assert set(audited(tmp_path, *names)["reason"]) <= set(Reason)


# ---- files that can be used

GOOD = {
    "rgb.jpg": (JPEG, "JPEG", "RGB"),
    "progressive.jpg": (PROGRESSIVE, "JPEG", "RGB"),
    "grey.jpg": (saved(scene(1).convert("L")), "JPEG", "L"),
    "cmyk.jpg": (saved(scene(1).convert("CMYK")), "JPEG", "CMYK"),
    "rgba.png": (saved(scene(1).convert("RGBA"), "PNG"), "PNG", "RGBA"),
    "grey_alpha.png": (saved(scene(1).convert("LA"), "PNG"), "PNG", "LA"),
    "palette.png": (saved(scene(1).quantize(200), "PNG"), "PNG", "P"),
    "one_bit.png": (saved(scene(1).convert("1"), "PNG"), "PNG", "1"),
    "grey16.png": (
        saved(Image.fromarray(np.asarray(scene(1).convert("L")).astype(np.uint16) * 257), "PNG"), "PNG", "I;16"
    ),
    "float.tif": (
        saved(Image.fromarray(np.asarray(scene(1).convert("L")).astype(np.float32)), "TIFF"), "TIFF", "F"
    ),
    "lzw.tif": (saved(scene(1), "TIFF", compression="tiff_lzw"), "TIFF", "RGB"),
    "a.webp": (saved(scene(1), "WEBP"), "WEBP", "RGB"),
    "a.bmp": (saved(scene(1), "BMP"), "BMP", "RGB"),
    "a.gif": (saved(scene(1), "GIF"), "GIF", "P"),
    "bytes_after_the_end.jpg": (JPEG + b"trailer" * 50, "JPEG", "RGB"),
    "padded_with_zeros.jpg": (JPEG + bytes(500), "JPEG", "RGB"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_formats_and_modes(tmp_path: Path, name: str) -> None:
    content, form, mode = GOOD[name]
    row = audited(tmp_path, write(tmp_path, name, content)).loc[name]
    assert row["reason"] == "", row["detail"]
    assert (row["format"], row["mode"], row["width"], row["height"]) == (form, mode, 320, 240)
    assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert row["bytes"] == len(content)
    assert row["extension_matches"]
    assert not row["flat"]


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_looks_the_same_in_every_format_and_mode(name: str) -> None:
    thumbnail = np.frombuffer(examine(GOOD[name][0]).thumbnail, np.uint8).astype(float)
    expected = np.frombuffer(examine(saved(scene(1), "PNG")).thumbnail, np.uint8).astype(float)
    tolerance = 25 if name.startswith(("cmyk", "one_bit")) else 9  # without a colour profile CMYK is only similar
    assert np.corrcoef(thumbnail, expected)[0, 1] > 0.98
    assert np.abs(thumbnail - expected).mean() < tolerance


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_hash_of_pixels_is_that_of_the_upright_picture_and_not_of_its_metadata(form: str) -> None:
    turned = scene(1).transpose(Image.Transpose.ROTATE_180)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    exif[ExifTags.Base.Artist] = "somebody"
    plain, described = saved(scene(1), form, lossless=True), saved(turned, form, exif=exif, lossless=True)
    if form != "JPEG":  # a turned JPEG has other blocks
        assert examine(plain).pixels == examine(described).pixels
    upright = Image.Exif()
    upright[ExifTags.Base.Artist] = "somebody"
    assert examine(plain).pixels == examine(saved(scene(1), form, exif=upright, lossless=True)).pixels
    assert examine(plain).pixels != examine(saved(turned, form, lossless=True)).pixels


def test_equal_pixels_in_another_lossless_format_have_the_same_hash() -> None:
    assert examine(saved(scene(1), "PNG")).pixels == examine(saved(scene(1), "BMP")).pixels


def test_one_other_pixel_is_another_hash() -> None:
    changed = scene(1)
    changed.putpixel((200, 100), (0, 0, 0))
    assert examine(saved(scene(1), "PNG")).pixels != examine(saved(changed, "PNG")).pixels
    assert examine(saved(scene(1), "JPEG")).pixels != examine(saved(changed, "JPEG")).pixels


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif(tmp_path: Path) -> None:
    assert audited(tmp_path, write(tmp_path, "a.avif", saved(scene(1), "AVIF"))).loc["a.avif", "format"] == "AVIF"


def test_a_wrong_extension_is_noted_and_harmless(tmp_path: Path) -> None:
    names = [write(tmp_path, name, PNG) for name in ("a.jpg", "a.PNG", "a")]
    table = audited(tmp_path, *names)
    assert list(table["reason"]) == [""] * 3
    assert list(table["extension_matches"]) == [False, True, True]
    assert extension_matches("photo.JPEG", "JPEG")
    assert not extension_matches("photo.jpeg", "PNG")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_gives_the_upright_picture(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = scene(2, 300, 200)
    back = {**TURNS, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright if orientation == 1 else upright.transpose(back[orientation])
    options = {"quality": 90} if form in ("JPEG", "WEBP") else {}
    content = saved(stored, form, exif=exif, **options)
    facts = examine(content)
    assert (facts.reason, facts.orientation, facts.width, facts.height) == ("", orientation, 300, 200)
    expected = examine(saved(upright, "PNG"))
    seen, shown = (np.frombuffer(one.thumbnail, np.uint8).astype(float) for one in (facts, expected))
    assert np.corrcoef(seen, shown)[0, 1] > 0.98
    assert decode(content, 100, resize).shape == (100, 150, 3)  # what is trained on agrees


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    facts = examine(saved(scene(2), exif=exif))
    assert (facts.orientation, facts.width, facts.height) == (1, 320, 240)


def test_broken_exif_does_not_make_a_photo_unusable() -> None:
    assert examine(saved(scene(2), exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(20))).reason == ""


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_that_shows_nothing_is_flat(level: int) -> None:
    noise = np.random.default_rng(0).normal(level, 1.0, (240, 320, 3)).clip(0, 255).astype(np.uint8)
    facts = examine(saved(Image.fromarray(noise)))
    assert facts.reason == ""
    assert facts.flat


# ---- nothing is ever raised

ORIGINALS = {
    "jpeg": JPEG,
    "progressive": PROGRESSIVE,
    "png": PNG,
    "webp": WEBP,
    "tiff": saved(scene(1, 80, 60), "TIFF", compression="tiff_lzw"),
    "gif": saved(scene(1, 80, 60), "GIF"),
}
CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans()), min_size=1, max_size=20
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(ORIGINALS)), CHANGES, st.floats(0.05, 1))
@example("png", [(0.0, 0, False)], 1.0)
def test_no_damage_raises(name: str, changes: list[tuple[float, int, bool]], kept: float) -> None:
    content = bytearray(ORIGINALS[name])
    for place, value, in_header in changes:
        content[int(place * (min(400, len(content)) if in_header else len(content)))] = value
    facts = examine(bytes(content[: int(len(content) * kept)]))
    assert facts.reason == "" or facts.reason in set(Reason)
    assert (facts.reason == "") == (facts.width > 0 and facts.height > 0)
    assert "\n" not in facts.detail


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"II*\0", b"GIF89a", b"BM", b"P6 "]),
       st.binary(max_size=300))  # fmt: skip
def test_no_content_raises(start: bytes, rest: bytes) -> None:
    assert examine(start + rest).reason in {"", *Reason}


def test_mutated_real_photos(shared: Path) -> None:
    rng = np.random.default_rng(0)
    photo = sorted((shared / "photos" / "daisy").iterdir())[0].read_bytes()
    for _ in range(100):
        content = np.frombuffer(photo, np.uint8).copy()
        places = rng.integers(0, rng.choice([600, len(content)]), rng.integers(1, 30))
        content[places] = rng.integers(0, 256, len(places))
        assert examine(content.tobytes()).reason in {"", *Reason}


def test_every_real_photo_is_usable(shared: Path) -> None:
    source = open_source(shared / "photos")
    paths = [path for path in source.files() if not path.endswith(".md")][::20]
    table = audit(source, paths, workers=1).table
    assert (table["reason"] == "").all()
    for path, width, height in zip(table["path"], table["width"], table["height"], strict=True):
        with Image.open(shared / "photos" / path) as image:
            assert image.size == (width, height)


# ---- processes

MANY = 80  # three tasks


def many(root: Path) -> list[str]:
    small = [saved(scene(seed, 64, 48)) for seed in range(8)]
    contents = {number: small[number % 8] + bytes([number]) for number in range(MANY)}
    contents |= {5: b"", 40: b"text", 41: JPEG[:2000], 79: small[0]}
    return [write(root, f"{number % 3}/{number}.jpg", content) for number, content in contents.items()]


def assert_same(one: Audit, other: Audit) -> None:
    pd.testing.assert_frame_equal(one.table, other.table)
    np.testing.assert_array_equal(one.hashes, other.hashes)
    np.testing.assert_array_equal(one.thumbnails, other.thumbnails)


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    paths = many(tmp_path / "photos")
    source = FolderSource(tmp_path / "photos")
    alone = audit(source, paths, workers=1)
    assert list(alone.table["path"]) == paths
    assert (alone.table["reason"] == "").sum() == MANY - 3
    assert_same(alone, audit(source, paths, workers=2))
    assert_same(alone, audit(source, paths, cache=tmp_path / "cache", workers=2))
    assert_same(alone, audit(source, paths, cache=tmp_path / "cache", workers=2))


@pytest.mark.parametrize("worth", [1, 10_000], ids=["fresh processes", "forks"])
def test_a_file_that_crashes_its_process_is_found(tmp_path: Path, worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("florafauna.audit.audit.WORTH_IMPORTS", worth)
    paths = many(tmp_path)
    paths[45:45] = [write(tmp_path, "crash.jpg", JPEG)]
    table = audit(CrashingSource(tmp_path), paths, workers=2).table
    assert list(table["path"]) == paths
    assert list(table.loc[table["reason"] == "corrupt", "path"]) == ["crash.jpg"]
    others = audit(FolderSource(tmp_path), [path for path in paths if path != "crash.jpg"], workers=1).table
    pd.testing.assert_frame_equal(table[table["path"] != "crash.jpg"].reset_index(drop=True), others)


def test_one_file_among_few_that_crashes_its_process_is_found(tmp_path: Path) -> None:
    paths = [write(tmp_path, path, JPEG) for path in ("a.jpg", "crash.jpg", "z.jpg")]
    table = audit(CrashingSource(tmp_path), paths).table
    assert list(table["reason"]) == ["", "corrupt", ""]
    assert list(audit(CrashingSource(tmp_path), ["crash.jpg"]).table["reason"]) == ["corrupt"]


UNGUARDED = """
import sys
from pathlib import Path
from florafauna.audit.audit import audit
from florafauna.base.errors import UserError
from florafauna.photos.sources import open_source
try:
    found = audit(open_source(Path(sys.argv[1])), [f"{number}.jpg" for number in range(int(sys.argv[2]))])
    print("done", set(found.table["reason"]))
except UserError as error:
    print(f"refused: {error}")
"""


def test_a_script_without_a_guard_is_told_so(tmp_path: Path, repository: Path) -> None:
    for number in range(WORTH_IMPORTS):
        write(tmp_path, f"{number}.jpg", JPEG)
    (tmp_path / "script.py").write_text(UNGUARDED, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(repository)}
    command = [sys.executable, tmp_path / "script.py", tmp_path]
    few = subprocess.run([*command, "3"], env=environment, capture_output=True, text=True, check=False)
    assert few.stdout == "done {''}\n", few.stdout + few.stderr  # by forks, which need none
    command.append(str(WORTH_IMPORTS))
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("refused: worker processes cannot start"), ran.stdout + ran.stderr
    assert "__main__" in ran.stdout


def test_an_archive_is_listed_once_a_process(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number in range(200):
            archive.writestr(f"{number}.jpg", JPEG + number.to_bytes(2, "big"))
    source = ListingSource(tmp_path)
    table = audit(source, [f"photos.zip/{number}.jpg" for number in range(200)], workers=2).table
    assert (table["reason"] == "").all()
    assert 0 < len(list(tmp_path.glob("listed-by-*"))) <= 3, "this process and two others"


def test_no_photos_at_all(tmp_path: Path) -> None:
    found = audit(FolderSource(tmp_path), [])
    assert len(found.table) == len(found.hashes) == len(found.thumbnails) == 0
    assert "reason" in found.table.columns
