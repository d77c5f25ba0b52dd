"""A small project in a folder of its own: this checkout's code under real git and real dvc, with few, small photos."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from filelock import FileLock
from helpers.forks import quick_python

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = ["florafauna", "stages", "dvc.yaml", "pyproject.toml", ".gitignore", ".dvcignore", "data/corrections.csv"]
SPECIES = ("violet_aster", "ladder_fern", "creek_maple")
PHOTOS = 14  # of each species
RATE = 0.02  # another one for vit


@dataclass(frozen=True)
class Run:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def stages(self) -> set[str]:
        """The stages that dvc ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.out))


@dataclass(frozen=True)
class Project:
    """A folder with a git repository and a dvc project."""

    root: Path

    def run(self, *command: str, check: bool = True, columns: int = 500, quick: bool = True) -> Run:
        """Run a command, in so wide a terminal, with this environment's python first on the path, or the quick one."""
        first = [quick_python().name] if quick and sys.platform == "linux" else []
        environment = os.environ | {
            "PATH": os.pathsep.join([*first, str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "site-cache"),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": str(columns),
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return Run(done.returncode, done.stdout, done.stderr)

    def repro(self, *arguments: str, check: bool = True) -> Run:
        """`dvc repro`."""
        return self.run("dvc", "repro", *arguments, check=check)

    def commit(self, message: str = "change") -> None:
        """Commit everything that git tracks or finds."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", message)

    def params(self) -> dict[str, Any]:
        """params.yaml."""
        return yaml.safe_load((self.root / "params.yaml").read_text())

    def change_params(self, **changes: Any) -> None:
        """Set values in params.yaml by dotted path, dots written as `__`."""
        params = self.params()
        for path, value in changes.items():
            *parents, last = path.split("__")
            section = params
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def append(self, path: str, text: str) -> None:
        """Add text to a file."""
        with (self.root / path).open("a", encoding="utf-8") as file:
            file.write(text)

    def learn(self, other: "Project") -> None:
        """Take over what another project has cached: what it has run comes from the run cache."""
        shutil.copytree(other.root / ".dvc/cache", self.root / ".dvc/cache", dirs_exist_ok=True, symlinks=True)

    def copy_to(self, root: Path) -> "Project":
        """An independent copy with its own cache."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)


def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after its first `dvc repro`, with Python as users start it, committed. To be copied only."""

    def make(root: Path) -> None:
        project = new_project(root)
        project.run("dvc", "repro", quick=False)
        project.commit("first run")

    return _made_once(tmp_path_factory, "finished", make)


def changed_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project after vit's rate was changed to `RATE` and `dvc repro`, not committed. To be copied only."""
    finished = finished_project(tmp_path_factory)

    def make(root: Path) -> None:
        project = finished.copy_to(root)
        project.change_params(models__vit__rate=RATE)
        assert project.repro().stages == {"train_vit", "folds@vit", "evaluate@vit", "compare"}

    return _made_once(tmp_path_factory, "changed", make)


def _made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Project:
    """What `make` makes, once for all processes of a test run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    root, done = shared / name / "repository", shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(root.parent, ignore_errors=True)
            make(root)
            done.touch()
    return Project(root)


def small_params() -> dict[str, Any]:
    """The sample's params, cut down to what shows the flow: small photos, one epoch."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    del params["screen"]
    params["data"] |= {"root": "photos", "labels": "photos/labels.csv", "max_unreadable": 0.2}
    params["image"]["store_size"] = 64
    params["training"]["head_init"] = "random"  # so that two steps of training show in the scores
    params["training"] |= {"epochs": 1, "warmup_epochs": 0, "train_size": 64, "batch_size": 16, "patience": 5}
    params["evaluate"]["resamples"] = 200
    for name, architecture in (("efficientnet", "test_efficientnet"), ("convnext", "test_convnext")):
        params["models"][name] |= {"architecture": architecture, "weights": "none", "views": 0}
    params["models"]["vit"] |= {
        "architecture": {"name": "test_vit", "img_size": 64}, "weights": "none", "views": 0,
    }  # fmt: skip
    return params


def write_photos(root: Path) -> None:
    """Some photos of the embedded sample with their labels, below photos/, and params.yaml."""
    labels = pd.read_csv(REPOSITORY / "data/sample/labels.csv", keep_default_na=False)
    readable = ~labels["path"].str.contains("truncated|empty|notes|disputed")
    chosen = labels[labels["species"].isin(SPECIES) & readable].groupby("species").head(PHOTOS)
    for path in chosen["path"]:
        (root / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "data/sample" / path, root / "photos" / path)
    chosen.to_csv(root / "photos/labels.csv", index=False)
    (root / "params.yaml").write_text(yaml.safe_dump(small_params(), sort_keys=False))


def new_project(root: Path) -> Project:
    """Code, params and some photos of the embedded sample, committed; nothing has run."""
    for name in CODE:
        source, target = REPOSITORY / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (root / "data/weights").mkdir(parents=True)
    (root / "data/weights/README.md").write_text("none\n")
    write_photos(root)
    project = Project(root)
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "config", "user.name", "Test")
    project.run("dvc", "init", "-q")
    project.commit("start")
    return project
