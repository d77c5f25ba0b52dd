"""Labels and file names are other people's: no spreadsheet runs them, no terminal obeys them."""

import csv
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from predict.conftest import Run

from florafauna.bundle.info import read_info, write_info
from florafauna.commands.cli import main

ODD = ["=cmd|' C calc'!A0.jpg", "+1.jpg", "-1.jpg", "@SUM(A1).jpg", "plain.jpg", "a=b.jpg"]
ESCAPE = "\x1b]0;owned\x07\x1b[2J"


@pytest.fixture
def here(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of photos with odd names, which list.csv lists."""
    monkeypatch.chdir(tmp_path)
    for photo, name in zip(sorted(photos.iterdir()), ODD, strict=False):
        shutil.copy(photo, name)
    with Path("list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *[[name] for name in ODD]])
    return tmp_path


@pytest.fixture
def odd_labels(bundle: Path, tmp_path: Path) -> Path:
    """The bundle with labels that are formulas."""
    folder = Path(shutil.copytree(bundle, tmp_path / "odd"))
    info = read_info(bundle)
    taxonomy = {f"=HYPERLINK({number})": {} for number in range(len(info["labels"]))}
    thresholds = info["calibration"]["thresholds"] | {"global": 0.0, "per_class": {}}
    calibration = info["calibration"] | {"thresholds": thresholds}
    write_info(folder, info | {"labels": list(taxonomy), "taxonomy": taxonomy, "calibration": calibration})
    return folder


def table(file: str) -> list[dict[str, str]]:
    with Path(file).open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.parametrize("form", ["csv", "camtrap-dp"])
def test_no_cell_begins_like_a_formula(here: Path, odd_labels: Path, form: str) -> None:
    command = ["predict", "list.csv", "--bundle", str(odd_labels), "--format", form]
    assert main([*command, "--out", "safe.csv"]) == 0
    assert main([*command, "--out", "plain.csv", "--verbatim"]) == 0
    safe, plain = table("safe.csv"), table("plain.csv")
    assert [row["path" if form == "csv" else "mediaID"] for row in plain] == ODD
    guarded = 0
    for ours, theirs in zip(safe, plain, strict=True):
        for name, cell in ours.items():
            assert not cell.startswith(("=", "+", "-", "@", "\t"))
            assert cell in (theirs[name], f"'{theirs[name]}")
            guarded += cell != theirs[name]
    assert guarded > len(ODD)
    numbers = "confidence_1" if form == "csv" else "classificationProbability"
    assert [float(row[numbers]) for row in safe] == [float(row[numbers]) for row in plain]


def test_a_submission_has_the_ids_as_they_are_listed(here: Path, odd_labels: Path) -> None:
    command = ["predict", "list.csv", "--bundle", str(odd_labels), "--out", "s.csv", "--submission", "path,Label"]
    assert main([*command, "--submission-label", "name"]) == 0
    assert [row["path"] for row in table("s.csv")] == ODD
    assert all(row["Label"].startswith("=HYPERLINK") for row in table("s.csv"))


def test_no_escape_sequence_reaches_the_terminal(
    run: Run, bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = Path(shutil.copytree(bundle, here / "odd"))
    write_info(odd, read_info(bundle) | {"name": f"newts{ESCAPE}"})
    folder = here / f"photos{ESCAPE}"
    folder.mkdir()
    shutil.copy("plain.jpg", folder / f"{ESCAPE}.jpg")
    assert main(["predict", str(folder), "plain.jpg", "--bundle", str(odd), "--out", f"o{ESCAPE}.csv"]) == 0
    with pytest.raises(SystemExit):
        run(f"absent{ESCAPE}", "--out", "o.csv")
    said = capsys.readouterr()
    assert "\\x1b]0;owned\\x07\\x1b[2J" in said.err
    assert "\x1b" not in said.err + said.out
    assert "\x07" not in said.err + said.out


def test_no_escape_sequence_of_labels_is_shown_by_check(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[name, f"{label}{ESCAPE}"] for name, label in zip(ODD, ["fern", "moss"] * 3, strict=True)]
        csv.writer(file).writerows([["path", "label"], *rows])
    with suppress(SystemExit):  # too few photos to split; what is known of them is shown before
        main(["check", ".", "--labels", "labels.csv"])
    said = capsys.readouterr()
    assert "fern" in said.out
    assert "\x1b" not in said.err + said.out
    assert "\x07" not in said.err + said.out
