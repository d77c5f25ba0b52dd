"""reports/screening.html: the backbones, what they cost, and the learning curve, in the look of the report."""

from pathlib import Path

import numpy as np

from florafauna.base.files import write_atomic
from florafauna.compare.report import figures
from florafauna.compare.report.environment import environment
from florafauna.compare.report.figures import Estimate, Line, Plot, x_axis, y_axis
from florafauna.scores.classification import rounded
from florafauna.screen._findings import SCORES, Findings, possible_pairs, scored
from florafauna.screen._heads import SOLVED
from florafauna.screen._learning import Gain

MOST_CLASSES = 200
EMBEDDED: dict[str, object] = {"labels": [], "photos": [], "models": {}, "rest": {}}  # what the main report shows more


def write_report(path: Path, findings: Findings) -> None:
    """Write the page, one file that needs no network."""
    rows = [row for row in findings.rows if row.head == SOLVED]
    names, f1s = [row.backbone for row in rows], [row.scores["weighted_f1"] for row in rows]
    costs = {
        "Parameters": [float(row.about["parameters"]) for row in rows],
        figures.SPEED: [row.about["photos_per_second"] for row in rows],
    }
    page = (
        environment("florafauna.screen")
        .get_template("screening.html.j2")
        .render(
            found=findings,
            scored=lambda row: rounded(scored(row)),
            possible=possible_pairs(len(rows)),
            groups=len(set(findings.photos.groups)),
            forest=figures.forest([_estimate(scored(row), row.backbone) for row in rows]),
            cost_plots=[figures.cost_plot(names, f1s, "Weighted F1", title, values) for title, values in costs.items()],
            hardware=sorted({row.about["hardware"] for row in rows}),
            curve=_curve(findings),
            classes=_classes(findings),
            embedded=EMBEDDED,
        )
    )
    write_atomic(path, page)


def _estimate(scores: dict[str, float], name: str) -> Estimate:
    value, low, high = (rounded(scores[f"weighted_f1{bound}"]) for bound in ("", "_low", "_high"))
    return Estimate(name, value, low, high, ["screening", "backbones", name, SOLVED])


def _curve(findings: Findings) -> Plot:
    """Scores against the number of photos that a head is fitted to, each draw as a small point."""
    photos, scores = findings.curve.fitted, findings.curve.scores(findings.truth)
    drawn = [float(value) for name in SCORES for value in scores[name].flat]
    x = x_axis("Photos that a head learns from", *figures.log_around(photos.tolist()), log=True)
    y = y_axis("Score", *figures.around(drawn, 0.05, 0.0))
    lines = []
    for number, name in enumerate(SCORES):
        means = scores[name].mean(axis=0)
        title = name.replace("_f1", " F1")
        marks = [
            (x(n), y(mean), 4.0, f"{title}: {mean:.3f} with {n:,.0f} photos")
            for n, mean in zip(photos, means, strict=True)
        ]
        marks += [(x(n), y(each), 1.5, "") for draw in scores[name] for n, each in zip(photos, draw, strict=True)]
        lines.append(Line(number, title, figures.path(x, y, list(zip(photos, means, strict=True))), marks))
    summary = "Mean of the draws: " + "; ".join(
        f"{line.name} {scores[name].mean(axis=0)[0]:.3f} with {photos[0]:,.0f} photos, "
        f"{scores[name].mean(axis=0)[-1]:.3f} with {photos[-1]:,.0f}"
        for name, line in zip(SCORES, lines, strict=True)
    )
    return Plot(f"Learning curve of {findings.best}", f"{summary}.", x, y, lines, [])


def _classes(findings: Findings) -> list[tuple[str, int, float, Gain, bool]]:
    """Label, photos, F1, gain, and whether that is more than noise; those that gained most come first."""
    counts = np.bincount(findings.photos.targets, minlength=len(findings.photos.labels))
    order = sorted(range(len(counts)), key=lambda at: -findings.gains.classes[at].value)[:MOST_CLASSES]
    return [
        (
            findings.photos.labels[at],
            int(counts[at]),
            float(findings.gains.f1[at]),
            findings.gains.classes[at],
            findings.gains.classes[at].p <= 1 - findings.confidence,
        )
        for at in order
    ]
