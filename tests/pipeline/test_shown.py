"""What DVC prints of a change and of experiments can be read in a terminal of 120 columns."""

import json
import re

from helpers.project import RATE, REPOSITORY, Project

COLUMNS = 120
DROP = re.findall(r"--drop '(.*)'", (REPOSITORY / "docs/dvc.md").read_text(encoding="utf-8"))[0]
ALONE = "vit is the only model. vit was trained once, so this is about its checkpoint, not about its recipe"
LONGEST = "efficientnet"  # the name that is widest as the best, too


def lines(project: Project, *command: str) -> list[str]:
    """What a command prints, each line without spaces at its end."""
    return [line.rstrip() for line in project.run("dvc", *command, columns=COLUMNS).out.splitlines() if line.strip()]


def test_the_metrics_of_all_models_are_a_table_that_fits(project: Project) -> None:
    file = project.root / "metrics/comparison.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"best": LONGEST}))
    header, *rows = lines(project, "metrics", "show")
    assert header.split() == [
        "Path", "best", "ece", "high", "low", "test.macro_f1", "test.weighted_f1", "val.weighted_f1",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == [
        f"metrics/{name}.json" for name in ("efficientnet", "convnext", "vit", "comparison")
    ]
    assert max(map(len, [header, *rows])) <= COLUMNS


def test_one_changed_model_is_a_diff_of_at_most_ten_lines(changed: Project) -> None:
    for revision in ([], ["main"]):
        _, *rows = shown = lines(changed, "metrics", "diff", *revision)
        assert len(shown) <= 10
        assert max(map(len, shown)) <= 100
        assert {row.split()[0] for row in rows} <= {"metrics/vit.json", "metrics/comparison.json"}
        assert "test.weighted_f1" in [row.split()[1] for row in rows]


def test_a_changed_param_is_a_line(changed: Project) -> None:
    _, row = lines(changed, "params", "diff")
    assert row.split() == ["params.yaml", "models.vit.rate", "0.001", str(RATE)]


def test_experiments_are_a_table_of_what_differs(changed: Project) -> None:
    changed.run("dvc", "exp", "save", "--name", "fast")
    changed.run("dvc", "exp", "run", "--name", "slow", "--set-param", "models.vit.rate=0.005")
    for options in ([], ["--drop", DROP]):
        shown = lines(changed, "exp", "show", "--only-changed", "--no-pager", *options)
        assert max(map(len, shown)) <= COLUMNS
    _, header, _, *rows, _ = shown
    assert "…" not in header
    assert {"Experiment", "metrics/vit.json:test.weighted_f1", "models.vit.rate"} <= set(header.split())
    rates = {row.partition("[")[2].partition("]")[0]: row.split()[-1] for row in rows if "[" in row}
    assert rates == {"fast": str(RATE), "slow": "0.005"}


def test_one_model_alone_is_compared_and_all_its_plots_are_there(project: Project) -> None:
    """Without an ensemble, whose files nothing may ask for then."""
    file = project.root / "dvc.yaml"
    file.write_text(file.read_text().replace("stages.compare efficientnet convnext vit", "stages.compare vit"))
    assert project.repro("compare").stages == {"compare"}
    comparison = json.loads((project.root / "metrics/details/comparison.json").read_text())
    assert (list(comparison["models"]), comparison["verdict"]) == (["vit"], ALONE)
    shown = project.run("dvc", "plots", "show", "--out", "shown")
    assert "failed" not in shown.out + shown.err
    page = (project.root / "shown/index.html").read_text()
    assert all(f"plots/{name}/vit.csv" in page for name in ("confusion", "reliability"))
    assert project.run("dvc", "status").out.startswith("Data and pipelines are up to date")
