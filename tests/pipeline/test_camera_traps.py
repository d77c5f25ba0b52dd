"""Every command of docs/camera-traps.md is run; `dvc repro` as the commands of dvc.yaml, within this process."""

import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers.project import REPOSITORY
from megadetector.postprocessing.validate_batch_results import validate_batch_results

from florafauna.commands.cli import main
from florafauna.compare.report._context import contexts
from florafauna.pixels.store import PixelStore

TEXT = (REPOSITORY / "docs/camera-traps.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.strip().splitlines()]
(PARAMS,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
STAGES = (
    "split",
    "preprocess",
    "weights efficientnet",
    "train efficientnet",
    "folds efficientnet",
    "evaluate efficientnet",
)


def set_params(**changes: dict[str, object]) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    for section, values in changes.items():
        params[section] = params.get(section, {}) | values
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the page."""
    program, *arguments = shlex.split(line)
    if program == "cp":
        shutil.copytree(*arguments[1:])
    elif program == "florafauna":
        assert main(arguments) == 0, line
    else:
        assert (program, arguments[0]) in (("python", "-m"), ("dvc", "repro"))
        modules = [arguments[1:]] if program == "python" else [f"stages.{stage}".split() for stage in STAGES]
        for module, *rest in modules:
            monkeypatch.setattr(sys, "argv", [module, *rest])
            runpy.run_module(module, run_name="__main__")


def test_the_page_from_the_detector_s_file_to_timelapse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(REPOSITORY))
    shutil.copytree(REPOSITORY / "data/weights", "data/weights")
    for name in ("params.yaml", "data/corrections.csv"):
        shutil.copy(REPOSITORY / name, name)
    set_params(**PARAMS, training={"epochs": 4}, evaluate={"resamples": 300})  # faster than the page
    for line in COMMANDS:
        if line.startswith("dvc repro") and Path("whole").is_dir():
            covered = json.loads(Path("metrics/details/efficientnet.json").read_text())["covered"]
            assert covered["n"] > 10
            set_params(boxes={"use": "crop"})
        run(line, monkeypatch)
        if line.startswith("florafauna compare"):
            assert re.search(r"weighted F1 0\.\d+ and 0\.\d+ on \d+ photos\n$", capsys.readouterr().out)
    details = json.loads(Path("metrics/details/efficientnet.json").read_text())
    assert "covered" not in details
    assert details["events"]["n"] < details["test"]["n"] == details["events"]["photos"]
    check_outputs()
    store = PixelStore(Path("data/processed/test"))
    shown = contexts(store, list(store.names))
    assert len(shown) == sum("#xywh=" in name for name in store.names) > 10
    assert all(0 <= left < left + width <= 1.001 for _, boxes in shown.values() for left, _, width, _ in boxes)


def check_outputs() -> None:
    """Each box and each sequence of three photos has its answer in every format."""
    assert not validate_batch_results("classified.json")["validation_results"]["errors"]
    before = json.loads(Path("data/cameras/detections.json").read_text())["images"]
    after = json.loads(Path("classified.json").read_text())["images"]
    for photo, classified in zip(before, after, strict=True):
        for box, answered in zip(photo["detections"], classified["detections"], strict=True):
            assert ("classifications" in answered) == (box["category"] == "1" and box["conf"] >= 0.2)
    assert len({photo["event"]["id"] for photo in after}) == 50
    observations = pd.read_csv("observations.csv")
    assert (observations["observationLevel"] == "event").sum() == 50
    assert observations["eventStart"].str.endswith("+02:00").all()
    boxes = pd.read_csv("boxes.csv")
    assert len(boxes) == (observations["observationLevel"] == "media").sum()
