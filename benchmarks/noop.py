"""`dvc repro` where nothing changed, against the same in a DVC project with as many stages that do nothing."""

import pstats
import shutil
import statistics
import subprocess
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.real_photos import REPOSITORY, command, programs, set_up
from benchmarks.results import Section
from benchmarks.timing import in_turn

RUNS = 11
ABOUT = """`dvc repro` on the embedded sample after a run of everything, and in a project of {stages} stages in a chain,
each of which copies a one-line file. All are git repositories with all of it committed; no stage runs.
Second row: the chain whose stages declare as many files, of one line each, as the pipeline's do. It holds nothing of
florafauna, so what is above 1 there is DVC's price for {lines} declared dependencies, outputs and params.
The last column is the time over that of the first chain: lower is better.
A profile of the pipeline's no-op, as shares of all its function calls' time: {profile}."""
# What of DVC takes the time, by the end of a function's file and its name
PROFILED = {
    "reading YAML": ("serialize/_yaml.py", "parse_yaml"),
    "making stages of it": ("stage/loader.py", "load_stage"),
    "the graph": ("repo/index.py", "graph"),
    "locks": ("dvc/rwlock.py", "rwlock"),
    "comparing what is declared with what is there": ("dvc/output.py", "status"),
    "importing DVC": ("dvc/repo/__init__.py", "<module>"),
}


def run() -> Section:
    """All in turn, after one of each that is not counted."""
    with TemporaryDirectory() as name:
        ours, empty, filled = (Path(name) / each for each in ("florafauna", "empty", "filled"))
        _sample(ours)
        lines = declared(ours)
        chain(empty, [2] * len(lines))
        chain(filled, lines)
        roots = (empty, ours, filled)
        for root in roots:
            repro(root)
        seconds = in_turn([partial(repro, root) for root in roots], RUNS)
        profile = _profile(ours)
    names = (
        f"dvc repro, nothing changed, {len(lines)} stages",
        f"the chain with {sum(lines)} one-line files",
    )
    rows = [_row(name, seconds[0], each) for name, each in zip(names, seconds[1:], strict=True)]
    columns = ("what", "chain of one file a stage", "this", "times as long")
    about = ABOUT.format(stages=len(lines), lines=sum(lines), profile=profile)
    return Section("No-op", about, columns, rows)


def _row(name: str, bare: list[float], these: list[float]) -> tuple[str, ...]:
    ratios = [own / other for other, own in zip(bare, these, strict=True)]
    medians = (f"{statistics.median(each):.2f} s" for each in (bare, these))
    return name, *medians, f"**{statistics.median(ratios):.2f}×** ({min(ratios):.2f} to {max(ratios):.2f})"


def chain(root: Path, declares: list[int]) -> None:
    """Stages that copy a file from one to the next, each declaring so many files, its output among them; it has run."""
    root.mkdir()
    others = [f"line{number}.txt" for number in range(max(declares) - 2)]
    for name in ("0.txt", *others):
        (root / name).write_text(f"{name}\n")
    stages = {
        f"stage{number}": {
            "cmd": f"cp {number}.txt {number + 1}.txt",
            "deps": [f"{number}.txt", *others[: lines - 2]],
            "outs": [f"{number + 1}.txt"],
        }
        for number, lines in enumerate(declares)
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    command(root, "git", "init", "-q")
    command(root, "dvc", "init", "-q")
    command(root, "dvc", "repro", "-q")
    _commit(root)


def repro(root: Path) -> None:
    """`dvc repro`; `RuntimeError` where it ran a stage."""
    if "Running stage" in _output(root, "dvc", "repro"):
        raise RuntimeError(f"dvc repro in {root.name} was no no-op")


def declared(root: Path) -> list[int]:
    """How many files, folders and params dvc.lock remembers of each stage."""
    stages = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    params = [sum(len(keys) for keys in stage.get("params", {}).values()) for stage in stages]
    files = [sum(len(stage.get(part, [])) for part in ("deps", "outs")) for stage in stages]
    return [several + few for several, few in zip(files, params, strict=True)]


def _sample(root: Path) -> None:
    """The repository's own sample, with everything run."""
    set_up(root, yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8")))
    for folder in ("data/sample", "data/weights"):
        shutil.copytree(REPOSITORY / folder, root / folder, dirs_exist_ok=True)
    shutil.copy(REPOSITORY / ".gitignore", root)
    command(root, "dvc", "repro")
    _commit(root)


def _profile(root: Path) -> str:
    """Shares of PROFILED, callees included, in one no-op."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "profile"
        _output(root, "dvc", "repro", "--cprofile-dump", str(file))
        stats = pstats.Stats(str(file))
    functions = vars(stats)["stats"].items()
    seconds = {
        what: sum(entry[3] for (path, _, name), entry in functions if path.endswith(end) and name == function)
        for what, (end, function) in PROFILED.items()
    }
    return ", ".join(f"{what} {share / vars(stats)['total_tt']:.0%}" for what, share in seconds.items())


def _commit(root: Path) -> None:
    command(root, "git", "add", "-A")
    command(root, "git", "-c", "user.name=benchmark", "-c", "user.email=@", "commit", "-q", "-m", "all of it")


def _output(root: Path, *words: str) -> str:
    return subprocess.run(words, cwd=root, env=programs(), check=True, capture_output=True, text=True).stdout
