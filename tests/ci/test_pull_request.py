"""The check of a pull request with real git, real dvc and real remotes; the runner has no photos and an empty cache."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ci.test_docs import block
from helpers.project import RATE, REPOSITORY, Project
from helpers.team import Origin, Runner, locked, objects, proposed, publish

from florafauna.base.errors import UserError
from florafauna.bundle.info import read_info, write_info
from florafauna.ci._commands import require_revision

MODELS = ("efficientnet", "convnext", "vit")
CHECKS = ("pull", "scores", "repro", "drop")
LEFT = (
    "data/manifest.csv",
    "data/processed/train",
    "data/processed/val",
    "models/initial/",
    "models/trained/",
)  # not fetched


def wanted(project: Project) -> dict[str, int]:
    """The objects, with their bytes, of all that a check needs: none of the photos, train or validation pixels."""
    cache = project.root / ".dvc/cache/files/md5"
    names = set()
    for path, md5 in locked(project).items():
        if not path.startswith(LEFT) and (cache / md5[:2] / md5[2:]).is_file():
            names.add(md5)
            if md5.endswith(".dir"):
                names |= {entry["md5"] for entry in json.loads((cache / md5[:2] / md5[2:]).read_text())}
    everything = objects(cache)
    return {name: everything[name] for name in names if name in everything}


def in_git(project: Project) -> set[str]:
    return set(project.run("git", "ls-files", "metrics").out.splitlines())


def git_changes(project: Project) -> str:
    return project.run("git", "status", "--porcelain").out


def test_where_nothing_changed_only_bundles_test_pixels_and_predictions_are_fetched(
    origin: Origin, runner: Runner
) -> None:
    """`make ci` on a clone; the environment is there already."""
    (runner.root / ".venv").mkdir()
    (runner.root / ".venv/.ready").touch()
    (command,) = block("make ci")
    done = runner.run(*command)
    cached_metrics = {md5 for path, md5 in locked(runner).items() if path in in_git(runner)}
    expected = {name: size for name, size in wanted(origin.project).items() if name not in cached_metrics}
    assert objects(runner.cache) == expected
    assert f"{len(expected)} objects with {sum(expected.values()):,} bytes were fetched" in done.out
    for absent in (
        "photos",
        "data/processed/train",
        "data/processed/val",
        "models/initial/vit.safetensors",
        "models/trained/vit",
        "data/manifest.csv",
    ):
        assert not (runner.root / absent).exists()
    assert sum(expected.values()) < sum(objects(origin.folder / "files/md5").values()) / 1.5
    assert "repro: nothing had to run again, and dvc.lock and metrics/ are as committed." in done.out
    assert git_changes(runner) == ""
    report = (runner.root / "build/ci/report.md").read_text()
    assert "**Passed: " in report
    assert report.count("| passed |") == len(CHECKS)
    assert " 0 objects with 0 bytes were fetched" in runner.step("pull")


def test_changed_evaluation_code_is_run_but_has_to_be_committed_with_its_lock_file(
    branch: Project, tmp_path: Path
) -> None:
    branch.append("florafauna/scores/bootstrap.py", "# a comment\n")
    runner = proposed(branch, tmp_path / "runner")
    runner.steps("pull")
    assert "nothing was scored again, because evaluate@" in runner.step("scores")
    sentence = runner.refused("repro")
    for name in MODELS:
        assert f"evaluate@{name}" in sentence
    assert "train_" not in sentence
    assert (runner.root / "data/processed/val").is_dir()
    assert not (runner.root / "data/processed/train").exists()
    assert "ran again, because florafauna/scores is modified, and now dvc.lock" in sentence
    assert "run `dvc repro` and `dvc push`, and commit" in sentence


def test_a_rate_changed_without_a_rerun_is_named_and_nothing_is_trained(branch: Project, tmp_path: Path) -> None:
    branch.change_params(models__vit__rate=0.02)
    runner = proposed(branch, tmp_path / "runner")
    runner.steps("pull", "scores")
    sentence = runner.refused("repro")
    assert "train_vit has to run again, because models.vit.rate changed from 0.001 to 0.02" in sentence
    assert "run `dvc repro` and `dvc push`" in sentence
    assert not (runner.root / "data/processed/train").exists()
    runner.step("report")
    report = (runner.root / "build/ci/report.md").read_text()
    assert f"**Failed: {sentence}**" in report
    assert "| params.yaml | models.vit.rate | 0.001" in report
    assert report.count("| did not run |") == 1


def test_a_rerun_that_was_pushed_passes_and_the_report_shows_what_it_changed(
    branch: Project, changed: Project, tmp_path: Path
) -> None:
    branch.learn(changed)
    branch.change_params(models__vit__rate=RATE, ci__max_drop=1.0)
    branch.repro()
    branch.run("dvc", "push", "-q")
    runner = proposed(branch, tmp_path / "runner")
    runner.steps(*CHECKS, "report")
    report = (runner.root / "build/ci/report.md").read_text()
    assert "**Passed: " in report
    assert "| metrics/vit.json " in report
    assert "| metrics/convnext.json " not in report
    assert "models.vit.rate" in report


def test_an_edited_metrics_file_is_found_by_scoring_again(branch: Project, tmp_path: Path) -> None:
    """Edited alone, then with a dvc.lock to match, then the verdict."""
    file, comparison = branch.root / "metrics/vit.json", branch.root / "metrics/comparison.json"
    metrics = json.loads(file.read_text())
    metrics["test"]["weighted_f1"] = 0.99
    file.write_text(json.dumps(metrics, indent=2) + "\n")
    runner = proposed(branch, tmp_path / "runner")
    runner.steps("pull")
    says = "metrics/vit.json says test.weighted_f1 is 0.99 and scoring the cached logits again gives"
    sentence = runner.refused("scores")
    assert sentence.startswith(says)
    assert "run `dvc repro --single-item --force evaluate@vit`" in sentence

    branch.run("dvc", "commit", "-f", "-q", "evaluate@vit", "compare")
    publish(branch)
    runner.run("git", "pull", "-q")
    assert "repro: nothing had to run again, and" in runner.step("repro")
    assert runner.refused("scores").startswith(says)

    branch.repro("--single-item", "--force", "evaluate@vit")
    assert json.loads(file.read_text())["test"]["weighted_f1"] != 0.99
    verdict = json.loads(comparison.read_text()) | {"verdict": "vit is the best of all models."}
    comparison.write_text(json.dumps(verdict, indent=2) + "\n")
    branch.run("dvc", "commit", "-f", "-q", "compare")
    branch.run("dvc", "push", "-q")
    publish(branch)
    runner.run("git", "pull", "-q")
    runner.steps("pull")
    assert "metrics/comparison.json says verdict is vit is the best of all models." in runner.refused("scores")


def test_a_bundle_that_praises_itself_is_found(branch: Project) -> None:
    """Its fingerprint renewed, so that only scoring tells."""
    bundle = branch.root / "models/vit"
    info = read_info(bundle)
    info["scores"]["test"]["weighted_f1"] = 0.99
    write_info(bundle, info)
    sentence = Runner(branch.root).refused("scores")
    assert sentence.startswith("models/vit/bundle.json says scores.test.weighted_f1 is 0.99 and scoring")
    assert "run `dvc repro --single-item --force evaluate@vit`" in sentence


def test_logits_of_another_model_are_found(branch: Project, tmp_path: Path) -> None:
    """Both are in dvc.lock, so no hash tells: the bundle that was pushed is not the one that was scored."""
    branch.run("dvc", "unprotect", "predictions/vit")
    other = branch.run(
        "python", "-c",
        "from dataclasses import replace; from pathlib import Path; import numpy as np;"
        "from florafauna.scores.predictions import *; file = Path('predictions/vit/logits.parquet');"
        "one = read_predictions(file); write_predictions(file, replace(one, logits=np.ascontiguousarray(-one.logits)))",
    )  # fmt: skip
    assert other.code == 0
    branch.run("dvc", "commit", "-f", "-q", "evaluate@vit", "compare")
    branch.run("dvc", "push", "-q")
    runner = proposed(branch, tmp_path / "runner")
    runner.steps("pull")
    assert "predictions/vit does not come from the model in models/vit" in runner.refused("scores")


def test_an_object_missing_on_the_remote(branch: Project, tmp_path: Path) -> None:
    md5 = locked(branch)["reports/index.html"]
    (tmp_path / "remote/files/md5" / md5[:2] / md5[2:]).unlink()
    runner = proposed(branch, tmp_path / "runner")
    sentence = runner.refused("pull")
    assert "the remote 'team'" in sentence
    assert "lacks 1 object(s) of reports/index.html; run `dvc push` where the pipeline was run." in sentence
    branch.run("dvc", "push", "-q")
    runner.steps("pull")


def test_a_corrupted_object_in_the_cache(runner: Runner) -> None:
    """DVC itself trusts read-only objects."""
    runner.steps("pull")
    md5 = locked(runner)["reports/index.html"]
    file = runner.cache / md5[:2] / md5[2:]
    size = file.stat().st_size
    for mode in (0o444, 0o644):
        file.chmod(0o644)
        file.write_bytes(bytes(size))
        file.chmod(mode)
        sentence = runner.refused("pull")
        assert sentence.startswith("the cached object of reports/index.html is corrupted; run `rm -f .dvc/cache")
    runner.run(*sentence.split("`")[1].split())
    runner.run("dvc", "pull", "reports/index.html")
    runner.steps("pull")


def test_an_object_corrupted_on_the_remote_is_not_taken(branch: Project, tmp_path: Path) -> None:
    md5 = locked(branch)["reports/index.html"]
    file = tmp_path / "remote/files/md5" / md5[:2] / md5[2:]
    file.unlink()  # a link to that of all tests
    file.write_bytes(b"no report")
    file.chmod(0o444)  # such DVC trusts; a writable one it finds out and deletes
    runner = proposed(branch, tmp_path / "runner")
    assert "reports/index.html is corrupted" in runner.refused("pull")


def test_a_remote_that_cannot_be_reached_and_none_at_all(runner: Runner) -> None:
    runner.run("dvc", "remote", "modify", "--local", "team", "url", str(runner.root.parent / "not mounted"))
    sentence = runner.refused("pull")
    assert "cannot be reached" in sentence
    assert "check its address, the network and the credentials" in sentence
    (runner.root / ".dvc/config.local").unlink()
    runner.run("dvc", "remote", "remove", "team")
    assert "no default DVC remote is set" in runner.refused("pull")


def test_a_fall_below_the_interval_fails_and_one_within_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two branches whose scores differ; the base has them in the file of older versions."""
    runner = Runner(tmp_path)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    file = tmp_path / "metrics/details/vit.json"
    file.parent.mkdir(parents=True)
    test = {"n": 50, "weighted_f1": 0.8, "weighted_f1_low": 0.7, "weighted_f1_high": 0.9}
    (tmp_path / "metrics/vit.json").write_text(json.dumps({"test": test}))
    runner.run("git", "init", "-q", "-b", "main")
    runner.run("git", "add", "metrics/vit.json")
    runner.run("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "scores")
    monkeypatch.setenv("BASE", "main")
    for value, allowed, passes in ((0.71, 0.0, True), (0.69, 0.0, False), (0.69, 0.02, True), (0.95, 0.0, True)):
        file.write_text(json.dumps({"test": test | {"weighted_f1": value}}))
        runner.change_params(ci__max_drop=allowed)
        if passes:
            assert f"vit: test.weighted_f1 0.8000 → {value:.4f}" in runner.step("drop")
        else:
            sentence = runner.refused("drop")
            assert "test.weighted_f1 of vit fell from 0.8000 on main to 0.6900" in sentence
            assert "raise ci.max_drop in params.yaml" in sentence
    runner.change_params(ci__metric="test.n")
    assert "metrics/vit.json of main has no 'test.n' with its interval" in runner.refused("drop")


def test_a_failed_step_is_one_sentence_on_stderr(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE", "origin/develop")
    done = runner.run("python", "-m", "florafauna.ci", "drop", check=False)
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith("florafauna: this clone has no 'origin/develop' to compare with; run `git fetch origin dev")


@pytest.mark.parametrize("base", ["main", "origin/main"])
def test_what_fetches_the_branch_to_compare_with_does_so(tmp_path: Path, base: str) -> None:
    """In a clone of another branch, where `git fetch origin main` would give nothing that name."""
    there, here = tmp_path / "there", tmp_path / "here"
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (
        [*git, "init", "-q", "-b", "main", str(there)],
        [*git, "-C", str(there), "commit", "-q", "--allow-empty", "-m", "scores"],
        [*git, "-C", str(there), "branch", "change"],
        [*git, "clone", "-q", "--depth", "1", "--branch", "change", there.as_uri(), str(here)],
    ):
        subprocess.run(command, check=True)
    with pytest.raises(UserError) as refused:
        require_revision(here, base)
    command = str(refused.value).split("`")[1].split()
    subprocess.run(command, cwd=here, check=True)
    require_revision(here, base)


def test_a_lock_file_with_a_merge_conflict(runner: Runner) -> None:
    lock = runner.root / "dvc.lock"
    lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}=======\n>>>>>>> change\n")
    assert "dvc.lock is not valid" in runner.refused("pull")


def test_the_report_is_added_to_the_job_summary(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = runner.root / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    runner.step("report")
    assert "Incomplete: pull, scores, repro, drop did not run" in summary.read_text()
