"""The report of a pull request as Markdown: verdict, steps, changes of metrics and params."""

import json
import os
import re
from pathlib import Path
from typing import Any

from florafauna.base.errors import plain_line
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
    """The whole report; `metrics` and `params` are Markdown already."""
    ended = {outcome.step: outcome for outcome in outcomes}
    rows = []
    for step in STEPS:
        outcome = ended.get(step)
        result = "did not run" if outcome is None else "passed" if outcome.passed else "**failed**"
        rows.append(f"| {ASKS[step]} | {result} | {escaped(outcome.sentence) if outcome else ''} |")
    parts = [
        f"**{escaped(verdict)}**",
        "\n".join(["| check | result | |", "|---|---|---|", *rows]),
        f"### Metrics against {escaped(base)}",
        metrics,
        f"### Params against {escaped(base)}",
        params,
    ]
    text = "\n\n".join(parts) + "\n"
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(chr(10))[0]}\n\n… cut; all is in the log.\n"


def _difference(root: Path, what: str, base: str) -> str:
    """A table of what changed. DVC's own has the names and values unescaped, which are labels and other people's."""
    done = run(root, "dvc", what, "diff", base, "--json")
    if done.code:
        return escaped(f"`dvc {what} diff {base}` failed: {done.last_error}.")
    changes = [(file, key, both) for file, keys in json.loads(done.out).items() for key, both in keys.items()]
    if not changes:
        return "No change."
    head = ("file", what.removesuffix("s"), escaped(base), "now")
    rows = [(escaped(file), escaped(key), _value(both["old"]), _value(both["new"])) for file, key, both in changes]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


def _value(value: Any) -> str:
    return "" if value is None else escaped(f"{value:.5g}" if isinstance(value, float) else str(value))


def escaped(text: str) -> str:
    """`text` on one line of Markdown, also in a cell of a table: as it reads, but that `code` stays code.

    Labels, file names and params are other people's: no HTML, no emphasis, no link, and nobody is mentioned.
    """
    parts = re.sub("``+", "'", plain_line(text)).split("`")
    if len(parts) % 2 == 0:  # one mark has no partner
        parts[-2:] = ["'".join(parts[-2:])]
    parts[::2] = [_without_markup(part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "`".join(parts)


def _without_markup(text: str) -> str:
    text = re.sub(r"[\\*\[\]<>&|~$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)  # underscores within words mean nothing
    return re.sub("[@#]", r"\g<0><!-- -->", text)  # which GitHub looks for after all escapes
