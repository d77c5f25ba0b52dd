"""Bursts that nobody declared: photos of a place, seconds apart by EXIF, are one group."""

from pathlib import Path

import pandas as pd
import pytest
from helpers.drawn import saved, scene, write
from PIL import Image

from florafauna.photos.settings import DataParams
from florafauna.split.dataset import Dataset, prepare
from florafauna.split.settings import SplitParams


def photo(seed: int, taken: str | None) -> bytes:
    exif = Image.Exif()
    if taken is not None:
        exif.get_ifd(0x8769)[0x9003] = taken
    return saved(scene(seed, 64, 48), exif=exif)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten single photos, an hour apart, and what the tests are about: `chain` is 100 s long, `apart` 61 s after it."""
    root = tmp_path_factory.mktemp("bursts")
    times = {f"a/single_{n}.jpg": f"2024:05:01 {n + 10}:00:00" for n in range(10)}
    times |= {f"a/chain_{n}.jpg": f"2024:05:02 10:0{n * 50 // 60}:{n * 50 % 60:02}" for n in range(3)}
    times |= {"a/apart.jpg": "2024:05:02 10:02:41", "b/other.jpg": "2024:05:02 10:00:10"}
    times |= {"a/broken.jpg": "2024:13:45 10:00:10"}
    for seed, (path, taken) in enumerate(times.items()):
        write(root, path, photo(seed, taken))
    write(root, "a/none.jpg", photo(99, None))
    return root


def prepared(photos: Path, folder: Path, more: dict[str, list[str]] | None = None, **options: object) -> Dataset:
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    rows = pd.DataFrame({"path": paths, "label": [("fox", "owl")[n % 2] for n in range(len(paths))]} | (more or {}))
    rows.to_csv(folder / "labels.csv", index=False)
    (folder / "corrections.csv").write_text("path,label\n")
    data = DataParams(root=str(photos), labels=str(folder / "labels.csv"), least=1, **options)  # type: ignore[arg-type]
    return prepare(data, SplitParams(val=0.2, test=0.2), folder / "corrections.csv", workers=1)


def groups(dataset: Dataset) -> dict[str, list[str]]:
    named = dataset.manifest[dataset.manifest["group"] != ""]
    return {str(name): rows["path"].tolist() for name, rows in named.groupby("group")}


CHAIN = ["a/chain_0.jpg", "a/chain_1.jpg", "a/chain_2.jpg"]


def test_a_chain_of_photos_of_a_folder_is_a_group_on_one_side_of_the_split(photos: Path, tmp_path: Path) -> None:
    dataset = prepared(photos, tmp_path)
    assert groups(dataset) == {"burst=a 2024-05-02T10:00:00": CHAIN}
    assert dataset.manifest.set_index("path").loc[CHAIN, "split"].nunique() == 1
    assert dataset.facts["bursts"] == {"joined": 1, "photos": 3}


def test_seconds_apart_are_a_setting(photos: Path, tmp_path: Path) -> None:
    assert groups(prepared(photos, tmp_path, burst=0)) == {}
    assert prepared(photos, tmp_path, burst=49).facts["bursts"] == {"joined": 0, "photos": 0}
    (longer,) = groups(prepared(photos, tmp_path, burst=61)).values()
    assert longer == ["a/apart.jpg", *CHAIN]


def test_a_site_counts_more_than_a_folder(photos: Path, tmp_path: Path) -> None:
    count = len(list(photos.rglob("*.jpg")))
    (group,) = groups(prepared(photos, tmp_path, {"location": ["brook"] * count})).items()
    assert group == ("burst=brook 2024-05-02T10:00:00", [*CHAIN, "b/other.jpg"])


def test_what_a_group_column_says_is_not_doubted(photos: Path, tmp_path: Path) -> None:
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    own = ["x" if path in CHAIN[:2] else "" for path in paths]
    dataset = prepared(photos, tmp_path, {"nest": own}, groups=("nest",))
    assert groups(dataset) == {"nest=x": CHAIN[:2]}
    assert dataset.facts["bursts"] == {"joined": 0, "photos": 0}


def test_the_times_are_remembered_with_the_photos(photos: Path, tmp_path: Path) -> None:
    data = DataParams(root=str(photos), labels=str(photos))
    (tmp_path / "corrections.csv").write_text("path,label\n")
    runs = [
        prepare(data.model_copy(update={"least": 1}), SplitParams(), tmp_path / "corrections.csv",
                cache=tmp_path / "cache", workers=1).facts["bursts"]
        for _ in range(2)
    ]  # fmt: skip
    assert runs[0] == runs[1] == {"joined": 1, "photos": 3}
