"""A few drawn faults; `make test-faults` draws many more. And what no drawing meets: imports, and refused access."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.faults import Harm
from helpers.project import finished_project

DRAWN = (
    ("split", "killed", 0),
    ("preprocess", "killed", 1),
    ("preprocess", "cache", 1),
    ("train_vit", "killed, then cache", 0),
    ("train_vit", "cache", 2),
    ("train_efficientnet", "interrupted", 0),
    ("train_vit", "object", 1),
    ("evaluate@convnext", "killed", 0),
    ("compare", "input", 1),
)
PATIENCE = 60.0  # seconds, for a busy machine
OVERRULING = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what makes root able to read everything
DROP_CAPABILITY = 24  # PR_CAPBSET_DROP


@pytest.fixture(scope="module")
def harm(tmp_path_factory: pytest.TempPathFactory) -> Harm:
    """The finished project, of which one model is trained from remembered features."""
    project = finished_project(tmp_path_factory).copy_to(tmp_path_factory.mktemp("unharmed") / "repository")
    project.change_params(models__vit__views=2, models__vit__epochs=3)
    project.repro()
    return Harm(project)


@pytest.mark.parametrize(("name", "fault", "seed"), DRAWN)
def test_nothing_damaged_passes_for_right(harm: Harm, name: str, fault: str, seed: int, tmp_path: Path) -> None:
    assert harm.try_out(harm.stages[name], fault, seed, tmp_path / "repository") in ("as unharmed", "one sentence")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_interruption_while_libraries_are_imported_is_one_line(harm: Harm) -> None:
    command = [sys.executable, "-m", "stages.train", "vit"]
    with subprocess.Popen(command, cwd=harm.project.root, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + PATIENCE
        while "/libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert (said, process.returncode) == ("florafauna: interrupted.\n", -signal.SIGINT)


def without_overruling() -> None:
    """Root becomes a user like any other."""
    for capability in OVERRULING:
        if ctypes.CDLL(None).prctl(DROP_CAPABILITY, capability, 0, 0, 0) and os.getuid() == 0:
            os._exit(77)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's capabilities")
@pytest.mark.parametrize(
    ("stage", "path", "mode"),
    [
        ("split", "photos/labels.csv", 0),
        ("split", "data", 0o500),
        ("split", ".florafauna/audit", 0),
        ("preprocess", "data/manifest.csv", 0),
        ("preprocess", "data", 0o500),
        ("preprocess", ".florafauna/pixels", 0),
        ("compare", "predictions/vit/logits.parquet", 0),
        ("compare", "reports", 0o500),
    ],
)
def test_a_refused_access_is_one_sentence(harm: Harm, stage: str, path: str, mode: int, tmp_path: Path) -> None:
    copy = harm.project.copy_to(tmp_path / "repository")
    (copy.root / path).chmod(mode)
    command = [sys.executable, *harm.stages[stage].command[1:]]
    done = subprocess.run(
        command, cwd=copy.root, preexec_fn=without_overruling, capture_output=True, text=True, check=False
    )
    (copy.root / path).chmod(0o755)
    if done.returncode == 77:
        pytest.skip("capabilities cannot be dropped here")
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("florafauna: ")]
    assert done.returncode == 0 or len(said) == 1
