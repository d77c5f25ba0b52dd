"""Names and values of metrics and params, labels among them, are text in the report, whatever they are made of."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from helpers.project import Project
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from florafauna.ci._outcome import Outcome
from florafauna.ci._report import ASKS, escaped, markdown, report

HOSTILE = "a|b <img src=x onerror=alert(1)> @maintainer #1 **bold** [x](http://x) _u_ `code`\n\n# head\r| c |"


def cells(text: str) -> list[str]:
    """What a reader sees in the one row of a table with `text` as its only cell."""
    html = MarkdownIt("commonmark").enable("table").render(f"| head |\n|---|\n| {text} |\n")
    return re.findall(r"<td>(.*?)</td>", html, re.DOTALL)


def test_nothing_of_a_label_is_markup() -> None:
    (cell,) = cells(escaped(HOSTILE))
    assert "&lt;img src=x onerror=alert(1)&gt;" in cell
    assert re.findall("<(?!!--)/?([a-z]+)", cell) == ["code", "code"]
    assert "@<!-- -->maintainer #<!-- -->1 **bold** [x](http://x) _u_" in cell


@given(st.text(st.sampled_from("ab`*_~<>[]()!#@|\\&$- \n\r\t:/"), max_size=40))
def test_any_text_stays_in_its_cell_as_text(text: str) -> None:
    found = cells(f"x{escaped(text)}x")
    assert len(found) == 1
    assert set(re.findall("<(?!!--)/?([a-z0-9]+)", found[0])) <= {"code"}
    assert not re.search(r"[@#](?!<!-- -->)", re.sub("<code>.*?</code>", "", found[0]))


def test_our_own_sentences_read_as_before() -> None:
    sentence = "metrics/vit.json says test_a.f1 is 1; run `dvc repro --single-item` and commit dvc.lock."
    assert escaped(sentence) == sentence


def test_a_sentence_with_a_hostile_label_is_one_row() -> None:
    text = markdown(f"Failed: {HOSTILE}", [Outcome("scores", False, HOSTILE)], "main", "No change.", "No change.")
    assert "\n# head" not in text
    assert "<img" not in re.sub(r"\\<", "", text)
    assert len([line for line in text.splitlines() if line.startswith(f"| {ASKS['scores']} |")]) == 1


def test_the_tables_of_differences_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    project = Project(tmp_path / "repository")
    project.root.mkdir()
    metrics, params = project.root / "metrics.json", project.root / "params.yaml"
    (project.root / "dvc.yaml").write_text("metrics: [metrics.json]\nparams: [params.yaml]\n")
    metrics.write_text('{"f1": 0.25}')
    params.write_text("label: species\n")
    project.run("git", "init", "-q", "-b", "main")
    project.run("dvc", "init", "-q")
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=Test", "-c", "user.email=@", "commit", "-q", "-m", "start")
    metrics.write_text(json.dumps({"f1": 1 / 3, HOSTILE: 1}))
    params.write_text("label: genus|@team\n")
    report("main", project.root)
    lines = (project.root / "build/ci/report.md").read_text().splitlines()
    assert "| metrics.json | f1 | 0.25 | 0.33333 |" in lines
    assert len([line for line in lines if line.startswith("| metrics.json | a\\|b \\<img")]) == 1
    assert "| params.yaml | label | species | genus\\|@<!-- -->team |" in lines
