"""docs/scale.md: trainings at once, in clones that share a cache, after which the first clone trains nothing."""

import os
import re
import shlex
from pathlib import Path

import pytest
from helpers.project import REPOSITORY, Project

# What sbatch does with a job array, on this machine: all tasks at once, each told its number.
SBATCH = r"""#!/usr/bin/env bash
set -euo pipefail
range=${1#--array=}; shift
tasks=()
for number in $(seq "${range%-*}" "${range#*-}"); do
  SLURM_SUBMIT_DIR=$PWD SLURM_ARRAY_TASK_ID=$number bash "$@" > "$CLONES-$number.log" 2>&1 & tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task"; done
"""
BLOCKS = re.findall(r"```(?:sh)?\n(.*?)```", (REPOSITORY / "docs/scale.md").read_text(encoding="utf-8"), re.DOTALL)


def lines_of(containing: str) -> list[str]:
    """The commands of the first block with this text."""
    return next(block for block in BLOCKS if containing in block).strip().splitlines()


@pytest.fixture
def cluster(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A finished project with the script, where `sbatch` can be typed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sbatch").write_text(SBATCH)
    (tmp_path / "bin/sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("CLONES", str(tmp_path / "clones"))
    (project.root / "docs").mkdir()
    for name in ("array.sbatch", "three-models.txt"):
        (project.root / "docs" / name).write_text((REPOSITORY / "docs" / name).read_text())
    return project


def test_an_array_trains_models_and_runs_experiments_at_once(cluster: Project, tmp_path: Path) -> None:
    cluster.change_params(training__seed=7)  # all models are to be trained
    experiment = lines_of("--name slow")[0]
    cluster.append("docs/three-models.txt", experiment)
    cluster.commit()
    prepare, _, submit = (shlex.split(line) for line in lines_of("sbatch"))
    assert cluster.run(*prepare).stages == set()
    cluster.run(*[word.replace("1-3", "1-4") for word in submit])

    ran = cluster.repro()
    assert not {stage for stage in ran.stages if stage.startswith("train_")}
    assert {"evaluate@convnext", "evaluate@efficientnet", "evaluate@vit", "compare"} <= ran.stages
    assert "slow" in cluster.run("dvc", "exp", "list", "--all-commits").out

    log = (tmp_path / "clones-2.log").read_text()
    assert "Running stage 'train_convnext'" in log
    assert "train_vit" not in log
