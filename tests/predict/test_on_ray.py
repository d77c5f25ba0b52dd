"""`--on ray`: a cluster writes what a plain run writes, whatever dies meanwhile, and no more than is left to do."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest
from helpers.project import REPOSITORY
from helpers.tiny import Place
from predict.conftest import Run

from florafauna.bundle.info import read_info, write_info
from florafauna.commands.cli import main

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
BROKEN, CRASHES, BATCH = "moss-10340.jpg", "newt-10980.jpg", 64
FOLDER, BUCKET, ARCHIVE = 500, 71, 1  # photos; one of the bucket's is an archive
ALL = FOLDER + BUCKET + ARCHIVE
# In every process of the cluster: opening the one photo ends it.
HOOK = f"""import os, signal, sys
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith("{CRASHES}"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""
# A dead machine is noticed after 2 s, not 30.
NOTICED = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
NOWHERE = "127.0.0.1:1"  # no cluster answers here
Given = tuple[str, ...]  # arguments


@pytest.fixture(scope="module")
def given(hundred: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 photos, one of which, in the midst of them, is broken, and one of the last crashes the cluster's decoders."""
    folder = tmp_path_factory.mktemp("given")
    for photo in sorted((hundred.root / "photos" / "val").iterdir()):
        for copy in range(5):
            shutil.copy(photo, folder / f"{photo.stem}{copy}.jpg")
    (folder / BROKEN).write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def everything(given: Path, s3: str, hundred: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """These, others in a bucket, and one in an archive that lies in the working directory."""
    photos = hundred.root / "photos" / "val"
    bucket = boto3.resource("s3", endpoint_url=s3).create_bucket(Bucket="photos")
    for photo in sorted(photos.iterdir())[:70]:
        bucket.upload_file(str(photo), f"new/{photo.name[:4]}/{photo.name}")
    for name in ("new/.hidden/a.jpg", "new/notes.txt", "new/more.zip", "old/a.jpg"):
        bucket.put_object(Key=name, Body=b"...")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3)  # what is started inherits it
        patch.chdir(tmp_path_factory.mktemp("everything"))
        with zipfile.ZipFile("more.zip", "w") as archive:
            archive.write(photos / "newt-1098.jpg", "newt.jpg")
        yield str(given), "s3://photos/new/", "more.zip"


@pytest.fixture(scope="module")
def machine(everything: Given, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A machine of one core, as far as Ray can tell, of a cluster led by another one of one core."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(HOOK)
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("PYTHONPATH", os.pathsep.join([str(site), str(REPOSITORY)]))
        size: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
        cluster = Cluster(True, head_node_args={"_system_config": NOTICED, **size})
        try:
            environment.setenv("RAY_ADDRESS", cluster.address)
            yield cluster.add_node(**size)
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="module")
def labels(everything: Given, machine: Any, bundle: Path) -> Path:
    """OUT of a run in whose midst one of the two machines was killed. Not to be changed."""
    out, at_death = Path("labels"), []

    def kill() -> None:
        while not files(out):
            time.sleep(0.05)
        os.kill(machine.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        at_death.extend(files(out))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert main(["predict", *everything, "--bundle", str(bundle), "--out", str(out), "--on", "ray"]) == 0
    killer.join()
    assert len(at_death) < len(files(out)) == -(-ALL // BATCH)
    return out.absolute()


@pytest.fixture(scope="module")
def plain(everything: Given, bundle: Path) -> pd.DataFrame:
    """What a run without Ray writes."""
    given = [each.rstrip("/") for each in everything]
    assert main(["predict", *given, "--bundle", str(bundle), "--out", "plain.parquet", "--workers", "1"]) == 0
    return pd.read_parquet("plain.parquet")


@pytest.fixture
def out(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, where there is no cluster."""
    monkeypatch.setenv("RAY_ADDRESS", NOWHERE)
    return Path(shutil.copytree(labels, tmp_path / "labels"))


def files(out: Path) -> dict[str, int]:
    """The files that hold rows, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


def test_each_row_is_there_once_as_in_a_plain_run(labels: Path, given: Path, plain: pd.DataFrame) -> None:
    found = pd.read_parquet(labels)
    assert found["path"].tolist() == plain["path"].tolist()
    assert found["path"][:FOLDER].tolist() == sorted(map(str, given.iterdir()))
    errors = found[:FOLDER].set_index("path")["error"].dropna()
    assert errors.index.tolist() == [str(given / BROKEN), str(given / CRASHES)]
    assert errors.iloc[1].startswith("corrupt: it crashes the process that decodes it")
    broken = plain.index[plain["error"].notna()][0]
    assert BATCH < broken < 7 * BATCH
    pd.testing.assert_frame_equal(found[:broken], plain[:broken], check_exact=True)
    both = plain["path"] != str(given / CRASHES)
    pd.testing.assert_frame_equal(found[both], plain[both], rtol=0, atol=1e-6)  # batches end elsewhere from there on


def test_photos_in_a_bucket_and_in_an_archive_are_among_them(labels: Path, run: Run, tmp_path: Path) -> None:
    found = pd.read_parquet(labels)[FOLDER:]
    assert len(found) == BUCKET + ARCHIVE
    assert found["path"].iloc[-1] == "more.zip/newt.jpg"
    unread = found[found["error"].notna()]
    assert unread["path"].tolist() == ["s3://photos/new/more.zip"]
    assert unread["error"].item().startswith("unreadable: an archive behind a URL")
    assert run(found["path"].iloc[0], "--out", tmp_path / "one.csv") == 0
    assert pd.read_csv(tmp_path / "one.csv")["label_1"].tolist() == [found["label_1"].iloc[0]]


def test_what_is_there_is_not_computed_again(out: Path, everything: Given, run: Run) -> None:
    before = files(out)
    assert run(*everything, "--out", out, "--on", "ray") == 0
    assert files(out) == before
    assert {path.name for path in out.iterdir()} == {*before, "_SUCCESS"}


def test_what_is_missing_and_what_was_repaired_is(
    out: Path, given: Path, everything: Given, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked for, of a cluster that does not answer."""
    (out / "part-000000.parquet").unlink()
    with pytest.raises(SystemExit):
        run(*everything, "--out", out, "--on", "ray")
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"newts: {ALL} photos, {ALL - BATCH} of them done before"
    assert second.startswith(f"florafauna: the cluster of RAY_ADDRESS={NOWHERE} cannot be used (")
    assert "_SUCCESS" not in {path.name for path in out.iterdir()}
    shutil.copy(given / "fern-10000.jpg", given / BROKEN)
    try:
        with pytest.raises(SystemExit):
            run(*everything, "--out", out, "--on", "ray")
    finally:
        (given / BROKEN).write_bytes(b"")
    assert f"newts: {ALL} photos, {ALL - 2 * BATCH} of them done before" in capsys.readouterr().err


def test_what_is_of_something_else_is_not_mixed_in(
    out: Path, everything: Given, photos: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["predict", *map(str, arguments), "--out", str(out), "--on", "ray"])
        assert ended.value.code == 1
        return capsys.readouterr().err

    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    write_info(other, read_info(other) | {"name": "frogs"})
    assert "holds predictions of other options;" in refused(*everything, "--bundle", bundle, "--top", 2)
    assert "holds predictions of other photos;" in refused(photos, "--bundle", bundle)
    said = refused(*everything, "--bundle", other)
    assert said == f"florafauna: {out} holds predictions of another model; remove it, or name another --out.\n"
    for copied, name in ((out / "part-000000.parquet", "part-000000 (1).parquet"), (photos / "fern-1000.jpg", "a.jpg")):
        shutil.copy(copied, out / name)
        assert f"{out / name} is damaged or not of `predict --on ray`;" in refused(*everything, "--bundle", bundle)
        (out / name).unlink()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://nobodys/photos", "s3://nobodys/photos does not exist; name a folder or a photo, without any *."),
        ("s3://photos/*.jpg", "s3://photos/*.jpg does not exist; name a folder or a photo, without any *."),
        ("nonsense://photos", "nonsense://photos cannot be read (Protocol not known: nonsense); check address"),
    ],
)
def test_what_is_not_behind_a_url_is_one_sentence(
    s3: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    says: str,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    with pytest.raises(SystemExit) as ended:
        run(url, "--out", tmp_path / "o.csv")
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"florafauna: {says}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "labels.csv"], "--out labels.csv: --on ray writes a folder of Parquet files; name a folder"),
        (["--out", "-"], "--out -: --on ray writes a folder"),
        (["--out", "s3://photos/labels"], "--on ray writes a folder of Parquet files; name a folder that all workers"),
        (["--out", "taken"], "--out taken is a file; with --on ray, name a folder."),
        (["--out", "o", "--format", "timelapse", "--events", "folder,60"], "leave out --events, --format timelapse."),
        (["--out", "o", "--submission", "ID,Label"], "leave out --submission."),
    ],
)
def test_what_makes_no_sense_on_ray_is_one_sentence(
    photos: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(SystemExit) as ended:
        run(photos, "--on", "ray", *arguments)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"taken"}


def test_without_ray_it_is_one_sentence(photos: Path, bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parent / "without.py"), "ray", "predict", str(photos)]
    command += ["--bundle", str(bundle), "--out", "labels", "--on", "ray"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    asked = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (asked.returncode, asked.stderr) == (1, "florafauna: ray is not installed; run `pip install ray`.\n")
    assert not list(tmp_path.iterdir())
