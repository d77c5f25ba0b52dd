"""Every command of docs/predict.md is run."""

import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from helpers.project import REPOSITORY
from helpers.tiny import Place

from florafauna.commands.cli import EXAMPLES, _parser, main

TEXT = (REPOSITORY / "docs/predict.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.strip().splitlines()]


@pytest.fixture
def project(hundred: Place, bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished project with new photos in it."""
    monkeypatch.chdir(tmp_path)
    for folder in ("new/deep", "models", "metrics", "data/processed"):
        Path(folder).mkdir(parents=True)
    for number, photo in enumerate(sorted(photos.iterdir())[:4]):
        shutil.copy(photo, ["new/a.jpg", "new/b.jpg", "new/deep/c.jpg", "d.jpg"][number])
    with zipfile.ZipFile("more.zip", "w") as archive:
        archive.write("d.jpg")
    for name, column in (("list.csv", "path"), ("Test.csv", "Image_ID")):
        Path(name).write_text(f"{column}\nnew/a.jpg\nnew/b.jpg\n")
    shutil.copytree(hundred.val, "data/processed/val")
    shutil.copytree(bundle, "models/vit")
    Path("metrics/comparison.json").write_text('{"best": "vit"}')
    return tmp_path


def test_all_commands_one_after_the_other(project: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        assert program == "florafauna"
        if arguments[0] == "serve":  # ends when it is told to; the tests of the page start it
            _parser().parse_args(arguments)
            continue
        assert main(arguments) == 0, line
        if arguments[0] in ("predict", "embed"):
            Path(arguments[arguments.index("--out") + 1]).stat()
    assert len(pd.read_parquet("labels.parquet")) == 4
    assert list(pd.read_csv("submission.csv")) == ["Image_ID", "Label"]
    assert pd.read_csv("labels.csv")["path"].tolist() == ["new/a.jpg", "new/b.jpg", "new/deep/c.jpg"]
    programs = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(compile(program, "docs/predict.md", "exec"), {})


def test_the_examples_of_the_help_can_be_parsed() -> None:
    for name, text in EXAMPLES.items():
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "florafauna"
            assert callable(_parser().parse_args(arguments).run)
        assert any(line.split()[1] == name for line in text.splitlines())
