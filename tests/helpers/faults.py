"""Faults, drawn by seed: a stage is killed, or what it reads is damaged; then it runs as after an accident.

What it writes then is held against what an unharmed run writes. Either all bytes are equal, or one sentence says what
is wrong; nothing half-written lies where the outs belong, and no temporary file is left.
"""

import hashlib
import os
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from helpers.project import Project, Run, new_project

DYING = Path(__file__).with_name("dying.py")
KEPT = "data/places.csv"  # which DVC does not delete before a run
TIMING = "timing"  # in paths of seconds, which are never twice the same
COMMIT = re.compile(rb"<dt>Made from</dt><dd>.*?</dd>", re.DOTALL)  # in the report, which names git's state
PLAIN = ("data/manifest.csv", "history.csv")  # text for people, without a checksum: only DVC's own guards it
CACHE = ".florafauna"
CACHED = {"split": ("audit",), "preprocess": ("pixels",)}  # folders of CACHE; training has the others
INTERRUPTS = ("SIGINT", "SIGTERM")
UNTOLD = -signal.SIGTERM  # before the script has begun: Python's own way to end
LONG_AGO = 120.0  # seconds: temporary files of killed runs are swept after a minute
FAULTS = ("killed", "killed twice", "interrupted", "cache", "killed, then cache", "input", "object")


class HarmError(AssertionError):
    """A fault that passed for right, ended in a traceback or left something half-written."""


@dataclass(frozen=True)
class Stage:
    """A stage as dvc.lock describes it."""

    name: str
    command: list[str]
    inputs: list[str]  # outs of other stages
    outs: list[str]


def make_project_to_harm(root: Path) -> Project:
    """A finished project with trainings of three epochs, two of them from remembered features."""
    project = new_project(root)
    project.change_params(training__epochs=3, models__convnext__views=2, models__vit__views=2)
    project.repro()
    return project


@dataclass(frozen=True)
class Harm:
    """Draws faults for the stages of a finished project, each on a copy of it."""

    project: Project

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """By name."""
        locked = yaml.safe_load((self.project.root / "dvc.lock").read_text())["stages"]
        outs = {name: [out["path"] for out in stage["outs"]] for name, stage in locked.items()}
        made = {path for paths in outs.values() for path in paths}
        return {
            name: Stage(
                name,
                stage["cmd"].split(),
                [dep["path"] for dep in stage["deps"] if dep["path"] in made],
                outs[name],
            )
            for name, stage in locked.items()
        }

    def has(self, stage: Stage, fault: str) -> bool:
        """Whether there is anything to damage."""
        if "cache" in fault:
            return stage.name in CACHED or stage.name.startswith("train_")
        return bool(stage.inputs) or fault not in ("input", "object")

    def try_out(self, stage: Stage, fault: str, seed: int, folder: Path) -> str:
        """One fault in a copy at `folder`: how it ended. `HarmError` where it ended as none may."""
        draw = random.Random(f"{stage.name} {fault} {seed}")
        copy = self.project.copy_to(folder)
        shutil.copy(DYING, copy.root)
        story: list[str] = []
        try:
            if "killed" in fault and draw.random() < 0.5:
                story.append("nothing remembered")  # as in the very first run
                shutil.rmtree(copy.root / CACHE)
            _remove_outs(copy, stage)
            for _ in range(2 if "twice" in fault else 1 if "killed" in fault or fault == "interrupted" else 0):
                self._end_early(copy, stage, draw, "SIGKILL" if "killed" in fault else draw.choice(INTERRUPTS), story)
            if "cache" in fault:
                story.append(damage(_remembered(copy, stage), draw))
            if fault in ("input", "object") and not self._damage_input(copy, stage, fault, draw, story):
                return "DVC refuses"
            run = copy.run(*stage.command, check=False)
            self._judge(copy, stage, run)
        except HarmError as error:
            raise HarmError(f"{stage.name}, {fault} {seed}: {'; '.join(story)}: {error}") from None
        return "one sentence" if run.code else "as unharmed"

    def _end_early(self, copy: Project, stage: Stage, draw: random.Random, by: str, story: list[str]) -> None:
        """Run a stage that gets a signal at a drawn file operation or time; what it leaves is whole."""
        what, most = draw.choice(list(zip(("operation", "millisecond"), self.measured(stage), strict=True)))
        when = str(draw.randint(1, most))
        story.append(f"{by} at {what} {when}")
        run = copy.run("python", "-m", "dying", by, what, when, *stage.command[2:], check=False)
        if by == "SIGKILL":
            self._refuse_others(copy, stage)
        elif run.code != UNTOLD:
            self._judge(copy, stage, run)
            if run.code and "florafauna: interrupted.\n" not in run.err:
                raise HarmError(f"ended with {run.code}\n{run.err}")
        for file in copy.root.rglob("*.tmp"):
            os.utime(file, (file.stat().st_mtime - LONG_AGO,) * 2)

    def measured(self, stage: Stage) -> tuple[int, int]:
        """How many file operations and milliseconds an unharmed run takes, with nothing remembered."""
        known = self.__dict__.setdefault("known", {})
        if stage.name not in known:
            folder = self.project.root.parent / f"measured-{stage.name}"
            copy = self.project.copy_to(folder)
            shutil.copy(DYING, copy.root)
            shutil.rmtree(copy.root / CACHE)
            _remove_outs(copy, stage)
            run = copy.run("python", "-m", "dying", "SIGKILL", "never", "0", *stage.command[2:])
            self._judge(copy, stage, run)
            shutil.rmtree(folder)
            known[stage.name] = tuple(map(int, re.findall(r"\d+", run.err.splitlines()[-1])))
        return known[stage.name]

    def _damage_input(self, copy: Project, stage: Stage, fault: str, draw: random.Random, story: list[str]) -> bool:
        """Damage a file that the stage reads, or its object in DVC's cache, which is then checked out; False if not."""
        path = draw.choice([path for path in stage.inputs if TIMING not in path])
        file = copy.root / path
        inner = [each for each in sorted(file.rglob("*")) if each.is_file()] if file.is_dir() else [file]
        inner = [each for each in inner if not each.as_posix().endswith(PLAIN)]
        if fault == "input":
            story.append(damage(inner, draw))
            return True
        digests = [hashlib.md5(each.read_bytes()).hexdigest() for each in inner]
        objects = [copy.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:] for digest in digests]
        story.append(f"{path}: {damage([each for each in objects if each.is_file()], draw)}")
        _remove(file)
        run = copy.run("dvc", "checkout", path, check=False)
        if "Traceback" in run.err:
            raise HarmError(run.err)
        return not run.code

    def _judge(self, copy: Project, stage: Stage, run: Run) -> None:
        """Hold what a run left against the unharmed one."""
        said = [line for line in run.err.splitlines() if line.startswith("florafauna: ")]
        if "Traceback" in run.err or (run.code and len(said) != 1):
            raise HarmError(f"ended with {run.code}\n{run.out}{run.err}")
        self._refuse_others(copy, stage, all_of_them=not run.code)
        left = [path for path in copy.root.rglob("*.tmp") if ".dvc" not in path.parts]
        if left:
            raise HarmError(f"left {left}")

    def _refuse_others(self, copy: Project, stage: Stage, all_of_them: bool = False) -> None:
        """Files of the outs that an unharmed run does not write so; with `all_of_them`, also those that are missing."""
        found, expected = (dict(_contents(project, stage)) for project in (copy, self.project))
        if not all_of_them:  # a store without its index is none, and is not read
            found = {path: data for path, data in found.items() if _index_of(path) in {None, *found}}
        wrong = [path for path in found if found[path] != expected.get(path)]
        if all_of_them:
            wrong += [path for path in expected if path not in found]
        if wrong:
            raise HarmError(f"another result: {wrong}")


def _index_of(path: str) -> str | None:
    """The file that makes shards a store."""
    folder, pixels, _ = path.rpartition("/pixels/")
    return f"{folder}/index.parquet" if pixels else None


def _remembered(copy: Project, stage: Stage) -> list[Path]:
    """The files of CACHE that the stage reads."""
    others = {name for names in CACHED.values() for name in names}
    folders = CACHED.get(stage.name) or [path.name for path in (copy.root / CACHE).glob("*") if path.name not in others]
    return sorted(file for name in folders for file in (copy.root / CACHE / name).rglob("*") if file.is_file())


def _remove_outs(copy: Project, stage: Stage) -> None:
    """As DVC does before a stage runs."""
    for path in stage.outs:
        if path != KEPT:
            _remove(copy.root / path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _contents(project: Project, stage: Stage) -> Iterator[tuple[str, bytes]]:
    for out in stage.outs:
        top = project.root / out
        for file in [top] if top.is_file() else sorted(top.rglob("*")):
            path = file.relative_to(project.root).as_posix()
            if file.is_file() and file.suffix != ".tmp" and TIMING not in path:
                yield path, COMMIT.sub(b"", file.read_bytes())


def damage(files: list[Path], draw: random.Random) -> str:
    """Damage one of the files in a drawn way; says what was done, nothing where there is no file."""
    files = [file for file in files if file.stat().st_size]
    if not files:
        return "nothing to damage"
    file, way = draw.choice(files), draw.choice(sorted(WAYS))
    WAYS[way](file, draw)
    return f"{file.name}: {way}"


def _flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    _replace(file, content)


def _shorten(file: Path, draw: random.Random) -> None:
    content = file.read_bytes()
    _replace(file, content[: draw.randrange(len(content))])


def _zero_half(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    _replace(file, content)


def _put_odd_file(file: Path, draw: random.Random) -> None:
    (file.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def _replace(file: Path, content: bytes) -> None:
    file.unlink()  # DVC's copies may be read-only, or links
    file.write_bytes(content)


WAYS: dict[str, Callable[[Path, random.Random], None]] = {
    "a bit flipped": _flip,
    "cut short": _shorten,
    "half zeroed": _zero_half,
    "an odd file beside": _put_odd_file,
}
