"""A process takes as many cores as it may use, not as many as the machine has."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.project import REPOSITORY

from florafauna.base.cores import SPINS

TOLD = "; import json, os, torch; from florafauna.base.cores import usable_cores; print(json.dumps([usable_cores()"
THREADS = ", torch.get_num_threads(), os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_NUM_THREADS')]))"
SEEN = f"import florafauna.commands{TOLD}{THREADS}"
GROUPS = Path("/sys/fs/cgroup")


def seen(*before: str, **variables: str) -> list[object]:
    """Cores, torch's threads, spins and the threads set, in a process that `before` starts."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "LOKY_"))}
    command = [*before, sys.executable, "-c", SEEN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=mine | variables, check=True)
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(shutil.which("taskset") is None, reason="there is no taskset here")
def test_by_affinity() -> None:
    core = str(min(os.sched_getaffinity(0)))
    assert seen("taskset", "-c", core)[:2] == [1, 1]


@pytest.fixture
def group_of_one_core() -> Iterator[list[str]]:
    """The start of a command whose process has the quota of one core, as in a container."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a control group needs root and Linux")
    first = (GROUPS / "cpu/cpu.shares").exists()  # version 1 of control groups
    parent, kind = (GROUPS / "cpu", "cgroup -o cpu") if first else (GROUPS, "cgroup2")
    group = parent / f"florafauna-{os.getpid()}"
    try:
        group.mkdir()
        if first:
            (group / "cpu.cfs_quota_us").write_text("100000")
        else:
            (group / "cpu.max").write_text("100000 100000")
        (group / "cgroup.procs").write_text("")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group can be made here ({error})")
    enter = f"echo $$ > {group}/cgroup.procs && exec unshare --cgroup --mount sh -c"
    inside = f'umount -l {parent}; mount -t {kind} none {parent} && exec "$@"'
    yield ["sh", "-c", f"{enter} '{inside}' sh \"$@\"", "sh"]
    group.rmdir()


def test_by_the_quota_of_a_control_group(group_of_one_core: list[str]) -> None:
    assert seen(*group_of_one_core)[:2] == [1, 1]


def test_threads_do_not_spin_for_long_unless_the_user_says_so() -> None:
    assert seen()[2] == SPINS
    assert seen(GOMP_SPINCOUNT="7")[2] == "7"
    assert seen(OMP_WAIT_POLICY="active")[2] is None
    assert seen(LOKY_MAX_CPU_COUNT="1", OMP_NUM_THREADS="2")[3] == "2"
