"""The report of a pull request as Markdown: verdict, steps, changes of metrics and params."""

import os
from pathlib import Path

from florafauna.base.files import write_atomic
from florafauna.ci._commands import run
from florafauna.ci._outcome import FOLDER, STEPS, Outcome, kept

REPORT = FOLDER / "report.md"
LONGEST = 60_000  # characters; GitHub refuses comments above 65,536
ASKS = {
    "pull": "everything needed is on the remote",
    "scores": "the metrics match the logits",
    "repro": "nothing has to be trained, and `dvc.lock` is as committed",
    "drop": "no metric fell",
}


def report(base: str, root: Path = Path()) -> str:
    """Write build/ci/report.md and add it to the job summary, if there is one; return the verdict."""
    outcomes = kept(root)
    verdict = verdict_of(outcomes)
    metrics, params = (_difference(root, what, base) for what in ("metrics", "params"))
    text = markdown(verdict, outcomes, base, metrics, params)
    write_atomic(root / REPORT, text)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text)
    return verdict


def verdict_of(outcomes: list[Outcome]) -> str:
    """One sentence: what failed first, what did not run, or that everything passed."""
    for outcome in outcomes:
        if not outcome.passed:
            return f"Failed: {outcome.sentence}"
    ran = {outcome.step for outcome in outcomes}
    left = [step for step in STEPS if step not in ran]
    if left:
        return f"Incomplete: {', '.join(left)} did not run; see the log of the previous step."
    return "Passed: the committed scores are those that the pipeline gives."


def markdown(verdict: str, outcomes: list[Outcome], base: str, metrics: str, params: str) -> str:
    """The whole report."""
    ended = {outcome.step: outcome for outcome in outcomes}
    rows = []
    for step in STEPS:
        outcome = ended.get(step)
        result = "did not run" if outcome is None else "passed" if outcome.passed else "**failed**"
        rows.append(f"| {ASKS[step]} | {result} | {_cell(outcome.sentence) if outcome else ''} |")
    parts = [
        f"**{verdict}**",
        "\n".join(["| check | result | |", "|---|---|---|", *rows]),
        f"### Metrics against {base}",
        metrics,
        f"### Params against {base}",
        params,
    ]
    text = "\n\n".join(parts) + "\n"
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(chr(10))[0]}\n\n… cut; all is in the log.\n"


def _difference(root: Path, what: str, base: str) -> str:
    done = run(root, "dvc", what, "diff", base, "--md")
    if done.code:
        return f"`dvc {what} diff {base}` failed: {done.last_error}."
    table = done.out.strip()
    return table if len(table.splitlines()) > 2 else "No change."  # dvc prints the head of a table without rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
