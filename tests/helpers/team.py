"""Who works together: somebody with photos and a cache, a bare git repository, a DVC remote, and an empty runner."""

import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
import yaml
from helpers.project import Project

from florafauna.base.errors import UserError
from florafauna.ci.__main__ import main


@dataclass(frozen=True)
class Runner(Project):
    """A clone in which nothing lies but what git holds."""

    @property
    def cache(self) -> Path:
        """Where DVC keeps objects."""
        return self.root / ".dvc/cache/files/md5"

    def step(self, name: str) -> str:
        """One step of the check, in this process: what it prints."""
        out = StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
            patch.chdir(self.root)
            patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
            patch.setenv("DVC_SITE_CACHE_DIR", str(self.root.parent / "site-cache"))
            patch.setenv("DVC_NO_ANALYTICS", "1")
            main([name])
        return out.getvalue()

    def steps(self, *names: str) -> None:
        """Steps that have to pass."""
        for name in names:
            self.step(name)

    def refused(self, name: str) -> str:
        """The one sentence of a step that has to fail."""
        with pytest.raises(UserError) as caught:
            self.step(name)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@dataclass(frozen=True)
class Origin:
    """What a team shares: `git` is a bare repository, `folder` a DVC remote; `project` is where everything was run."""

    git: Path
    folder: Path
    project: Project

    def clone(self, root: Path, branch: str = "main") -> Runner:
        """A clone as CI makes it, with a DVC cache of its own that is empty."""
        subprocess.run(["git", "clone", "-q", "--branch", branch, str(self.git), str(root)], check=True)
        runner = Runner(root)
        runner.run("git", "config", "user.email", "test@example.org")
        runner.run("git", "config", "user.name", "Test")
        return runner

    def branch(self, root: Path) -> Project:
        """A copy of the project that was run, with photos and cache: where somebody works."""
        shutil.copytree(self.project.root, root, symlinks=True, ignore=_but_the_cache)
        linked(self.project.root / ".dvc/cache", root / ".dvc/cache")
        return Project(root)


def linked(source: Path, target: Path) -> None:
    """A copy of objects of DVC, which are never written to: its files are hard links."""
    shutil.copytree(source, target, copy_function=os.link)


def publish(project: Project) -> None:
    """Commit the branch as it is and push it; what it caches is not pushed."""
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "--allow-empty", "-m", "change")
    project.run("git", "push", "-q", "origin", "change")


def proposed(project: Project, root: Path) -> Runner:
    """Publish the branch; the runner's clone of it."""
    publish(project)
    git = Path(project.run("git", "remote", "get-url", "origin").out.strip())
    return Origin(git, root, project).clone(root, "change")


def locked(project: Project) -> dict[str, str]:
    """The hash of every output in dvc.lock, by path."""
    stages = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}


def objects(folder: Path) -> dict[str, int]:
    """The objects in a cache or a folder remote (`.../files/md5`) by name, with their bytes."""
    return {file.parent.name + file.name: file.stat().st_size for file in folder.glob("??/*")}


def _but_the_cache(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder).name, name) == (".dvc", "cache")]
