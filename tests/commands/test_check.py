"""`florafauna check` says on one screen what a run would make of photos, also of photos that it would refuse."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.drawn import saved, scene, write
from helpers.project import REPOSITORY

from florafauna.commands.cli import main

LABELS = ("fern", "moss")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 photos of two classes in the folder photos of the working folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        write(tmp_path / "photos", f"{LABELS[number % 2]}/{number}.jpg", saved(scene(number)))
    return tmp_path / "photos"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["check", *arguments]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) <= 40
    assert "\x1b" not in out
    return out


def test_an_orderly_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "photos")
    assert "12 in photos, 12 usable, 0 quarantined (format: folder)" in out
    assert "labels      from the names of 2 folders (fern, moss)" in out
    assert "imbalance 1 " in out
    assert "train" in out
    assert "quarantine " not in out


def test_oddities_are_named_with_an_example(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(photos, "fern/empty.jpg", b"")
    write(photos, "fern/text.jpg", b"nothing to see")
    write(photos, "Moss/20.jpg", saved(scene(20)))
    write(photos, "Moss/21.jpg", saved(scene(21)))
    write(photos, "Moss/22.png", saved(scene(22)))
    write(photos, "fern/copy.jpg", (photos / "fern/0.jpg").read_bytes())
    Path("params.yaml").write_text(
        "data: {root: x, labels: x, groups: [site], max_unreadable: 0.5}\nsplit: {}\nimage: {}\n"
        "models: {a: {architecture: a, weights: none, trainable: all}}\n"
    )
    out = shown(capsys, "photos")
    assert "18 in photos, 16 usable, 2 quarantined" in out
    assert ["empty", "1", "fern/empty.jpg:"] in [line.split()[:3] for line in out.splitlines()]
    assert "fern/text.jpg" in out
    assert "Moss / moss" in out
    assert "1 clusters of 2 photos, 2 pixel for pixel" in out
    assert "Moss/22.png" in out
    assert "no column 'site', which data.groups of params.yaml names" in out


def test_the_evidence_for_the_labels_is_shown_whole(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{'photos that we took in the wood ' * 4}.csv"
    rows = [f"{label}/{number}.jpg,{label}" for number in range(12) for label in [LABELS[number % 2]]]
    (photos / name).write_text("\n".join(["path,label", *rows]) + "\n")
    out = " ".join(shown(capsys, "photos").split())
    assert f"labels from {' '.join(name.split())}: column label; 12 of 12 rows found" in out


def test_many_classes_fit_the_screen(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [saved(scene(seed, 64, 48)) for seed in range(100, 160)]
    for number, content in enumerate(data):
        write(photos, f"[red]{number % 20:02d}/{number}.jpg", content)
    write(photos, "fern/more.jpg", saved(scene(200, 64, 48)))
    out = shown(capsys, "photos")
    assert "22, imbalance 2.33 (most: fern, 7; fewest: [red]00, 3)" in out
    assert "5 rarest, 5 most common" in out
    assert "[red]04" in out
    assert "[red]06" not in out


def test_what_is_known_is_shown_before_the_error(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(photos, "newt/1.jpg", saved(scene(30)))
    Path("params.yaml").write_text(
        "data: {root: x, labels: x, rare: stop}\nsplit: {}\nimage: {}\n"
        "models: {a: {architecture: a, weights: none, trainable: all}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["check", "photos"])
    captured = capsys.readouterr()
    assert ended.value.code == 1
    assert "13 in photos, 13 usable" in captured.out
    assert "1 labels with a single photo: newt" in captured.out
    assert captured.err.startswith("florafauna: class 'newt'")
    assert len(captured.err.splitlines()) == 1


def test_rare_classes_are_left_out_and_listed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(photos, "newt/1.jpg", saved(scene(30)))
    out = shown(capsys, "photos")
    assert ["rare_class", "1", "newt/1.jpg:"] in [line.split()[:3] for line in out.splitlines()]
    assert "1 classes with fewer than 3 photos are left out: newt (1)" in out


def test_where_all_photos_are_broken_the_reasons_are_shown(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in photos.rglob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(SystemExit):
        main(["check", "photos"])
    captured = capsys.readouterr()
    assert "12 in photos, 0 usable, 12 quarantined" in captured.out
    assert "12 of 12 photos" in captured.err


def test_a_label_table_at_the_top_is_found_and_can_be_replaced(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{label}/{number}.jpg,{label},{number // 2}" for number in range(12) for label in [LABELS[number % 2]]]
    for place in ("photos/labels.csv", "other.csv"):
        Path(place).write_text("\n".join(["path,label,bed", *rows[: 12 if place == "other.csv" else 8]]) + "\n")
    assert "4 quarantined (format: table)" in shown(capsys, "photos", "--groups", "bed")
    out = shown(capsys, "photos", "--labels", "other.csv", "--groups", "bed")
    assert "0 quarantined (format: table)" in out
    assert "6 of 12 photos by bed and by likeness" in out
    with pytest.raises(SystemExit):
        main(["check", "photos", "--groups", "absent"])
    assert "needs a column 'absent'" in capsys.readouterr().err


def test_nothing_is_written_but_the_cache(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path for path in Path().rglob("*") if path.is_file()}
    shown(capsys, "photos")
    written = {path for path in Path().rglob("*") if path.is_file()} - before
    assert {path.parent.as_posix() for path in written} == {".florafauna/audit"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "params.yaml"),
        (["absent"], "absent does not exist"),
        (["photos", "--format", "odd"], "'odd' is not one of"),
        (["photos", "--label", "genus"], "genus"),
    ],
)
def test_bad_input_is_one_sentence(
    photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", *arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 1
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([name, "--help"] for name in ("check", "predict", "export", "serve")), ["check", "photos"]],
)
def test_torch_is_not_imported(photos: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom florafauna.commands.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_places_of_earlier_runs_count_for_the_projects_own_photos_alone(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").write_text(
        "data: {root: photos, labels: photos}\nsplit: {}\nimage: {}\n"
        "models: {a: {architecture: a, weights: none, trainable: all}}\n"
    )
    write(Path("data"), "corrections.csv", b"path,label\n")
    write(Path("data"), "places.csv", b"odd\n")
    shutil.copytree("photos", "others")
    shown(capsys, "others")
    for arguments in ([], ["photos"]):
        with pytest.raises(SystemExit):
            main(["check", *arguments])
        assert "data/places.csv does not begin with" in capsys.readouterr().err
    write(Path("data"), "places.csv", b'# {"groups": [], "seed": 0, "test": 0.15, "val": 0.15}\nsha256,split\n')
    assert "0 photos keep the places of earlier groups, 12 are drawn" in shown(capsys, "photos")
