"""The same check against a remote on S3, over HTTP."""

from pathlib import Path

import pytest
from helpers.team import Origin, Runner, locked, objects

pytest.importorskip("dvc_s3", reason="dvc[s3] is not installed")

import boto3


@pytest.fixture
def on_s3(origin: Origin, runner: Runner, s3: str, tmp_path: Path) -> Runner:
    """A fresh clone whose remote is a bucket that the project was pushed to."""
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket="photos")
    work = origin.branch(tmp_path / "work")
    for project in (work, runner):
        project.run("dvc", "remote", "add", "--local", "bucket", "s3://photos/dvc")
        project.run("dvc", "remote", "modify", "--local", "bucket", "endpointurl", s3)
    runner.run("dvc", "config", "--local", "core.remote", "bucket")
    work.run("dvc", "push", "-q", "-r", "bucket")
    return runner


def test_pull_check_missing_object_and_server_away(on_s3: Runner, s3: str) -> None:
    bucket = boto3.resource("s3", endpoint_url=s3).Bucket("photos")
    pushed = {item.key.removeprefix("dvc/files/md5/").replace("/", ""): item.size for item in bucket.objects.all()}
    on_s3.steps("pull")
    fetched = objects(on_s3.cache)
    assert fetched.items() <= pushed.items()
    md5s = locked(on_s3)
    assert {md5s["models/vit"], md5s["data/processed/test"], md5s["reports/index.html"]} <= fetched.keys()
    left = ("data/processed/train", "data/processed/val", "models/initial/vit.safetensors", "models/trained/vit")
    assert not {md5s[path] for path in left} & fetched.keys()

    md5 = md5s["reports/index.html"]
    (on_s3.cache / md5[:2] / md5[2:]).unlink()
    (on_s3.root / "reports/index.html").unlink()
    bucket.Object(f"dvc/files/md5/{md5[:2]}/{md5[2:]}").delete()
    sentence = on_s3.refused("pull")
    assert "the remote 'bucket' (s3://photos/dvc) lacks 1 object(s) of reports/index.html" in sentence

    on_s3.run("dvc", "remote", "modify", "--local", "bucket", "endpointurl", "http://127.0.0.1:1")
    on_s3.run("dvc", "remote", "modify", "--local", "bucket", "connect_timeout", "1")
    sentence = on_s3.refused("pull")
    assert "the remote 'bucket' (s3://photos/dvc) cannot be reached" in sentence
    assert "credentials" in sentence


def test_a_bucket_that_does_not_exist(runner: Runner, s3: str) -> None:
    runner.run("dvc", "remote", "add", "--local", "bucket", "s3://nobodys/dvc")
    runner.run("dvc", "remote", "modify", "--local", "bucket", "endpointurl", s3)
    runner.run("dvc", "config", "--local", "core.remote", "bucket")
    assert "the remote 'bucket' (s3://nobodys/dvc)" in runner.refused("pull")
