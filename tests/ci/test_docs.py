"""Every command of docs/remote.md is run, except those that need somebody else's server."""

import re
import shlex
from pathlib import Path

import boto3
import pytest
from helpers.project import RATE, REPOSITORY, Project
from helpers.team import Origin, objects

TEXT = (REPOSITORY / "docs/remote.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)]


def block(containing: str) -> list[list[str]]:
    """The commands of the one block with this text."""
    found = [lines for lines in BLOCKS if containing in "\n".join(lines)]
    assert len(found) == 1, containing
    return [shlex.split(line) for line in found[0]]


@pytest.fixture
def work(origin: Origin, tmp_path: Path) -> Project:
    """The finished project without a remote."""
    project = origin.branch(tmp_path / "work")
    project.run("dvc", "remote", "remove", "team")
    return project


def test_every_block_is_known_to_a_test() -> None:
    known = (
        "s3://",
        "gs://",
        "ssh://",
        "team /srv",
        "cache dir",
        "--run-cache",
        "exp run -S",
        "queue start",
        "artifacts get",
        "make ci",
    )
    assert sorted(next(each for each in known if each in "\n".join(lines)) for lines in BLOCKS) == sorted(known)


def test_a_directory(work: Project, tmp_path: Path) -> None:
    add, push = block("team /srv")
    work.run(*add[:-1], str(tmp_path / "store"))
    work.run(*push)
    pushed = objects(tmp_path / "store/files/md5")
    assert pushed.items() <= objects(work.root / ".dvc/cache/files/md5").items()
    assert len(pushed) > 50


def test_s3(work: Project, s3: str) -> None:
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket="my-bucket")
    add, push = block("s3://")
    work.run(*add)
    work.run("dvc", "remote", "modify", "team", "endpointurl", s3)
    work.run(*push)
    found = boto3.resource("s3", endpoint_url=s3).Bucket("my-bucket").objects.filter(Prefix="florafauna/files/md5/")
    assert sum(1 for _ in found) > 50


@pytest.mark.parametrize("kind", ["gs://", "ssh://"])
def test_where_there_is_no_server_the_remote_is_at_least_set(work: Project, kind: str) -> None:
    add, push = block(kind)
    assert push == ["dvc", "push"]
    work.run(*add)
    assert work.run("dvc", "remote", "list").out.split()[:2] == ["team", add[-1]]
    assert work.run("dvc", "config", "core.remote").out.strip() == "team"


def test_a_shared_cache_links_and_the_pipeline_still_runs(work: Project, tmp_path: Path) -> None:
    for command in block("cache dir"):
        work.run(*(part.replace("/srv/dvc-cache", str(tmp_path / "cache")) for part in command))
    model = work.root / "models/vit/model.safetensors"
    linked = [file for file in (tmp_path / "cache/files/md5").glob("??/*") if file.samefile(model)]
    if not linked:  # a file system that can reflink was given one: the bytes are shared, the inode is not
        assert model.stat().st_nlink == 1
    assert not (work.root / ".dvc/cache/files").exists()
    before = {file.name: file.read_bytes() for file in linked}
    work.append("florafauna/compare/compare.py", "# a comment\n")
    assert work.repro().stages == {"compare"}
    assert {file.name: file.read_bytes() for file in linked} == before


def test_the_run_cache_brings_a_colleagues_training(
    work: Project, origin: Origin, changed: Project, tmp_path: Path
) -> None:
    """Nothing of it was committed."""
    push, pull = block("--run-cache")
    colleague = origin.branch(tmp_path / "colleague")
    for project in (work, colleague):
        project.run("dvc", "remote", "add", "-d", "-f", "store", str(tmp_path / "store"))
        project.change_params(models__vit__rate=RATE)
    colleague.learn(changed)
    colleague.repro()
    colleague.run(*push)
    work.run(*pull)
    again = work.repro("--pull")
    assert "train_vit" not in again.stages
    assert (work.root / "models/vit/model.safetensors").read_bytes() == (
        colleague.root / "models/vit/model.safetensors"
    ).read_bytes()
