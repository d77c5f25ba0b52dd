"""The chosen metric against another branch: a drop within the interval is chance, one below it is a loss."""

import json
from dataclasses import dataclass
from pathlib import Path

from florafauna.base.errors import UserError
from florafauna.base.settings import read_section
from florafauna.ci._commands import committed, require_revision
from florafauna.ci.settings import CiParams
from florafauna.model.settings import model_names


@dataclass(frozen=True)
class Figure:
    """A metric of one model with its interval, as in a metrics file."""

    value: float
    low: float
    high: float


def drop(base: str, root: Path = Path()) -> str:
    """Compare every model that both branches have; `UserError` names the model with the largest drop."""
    require_revision(root, base)
    file = root / "params.yaml"
    allowed = read_section("ci", CiParams, file)
    pairs = {}
    for name in model_names(file):
        before, now = figure_of(name, allowed.metric, root, base), figure_of(name, allowed.metric, root)
        if before and now:
            pairs[name] = before, now
    if not pairs:
        return f"{base} has no scores of these models, so there is nothing to compare."
    below = {name: fall(before, now) for name, (before, now) in pairs.items()}
    worst = max(below, key=lambda name: below[name])
    if below[worst] > allowed.max_drop:
        raise UserError(_loss(worst, base, *pairs[worst], allowed))
    return "; ".join(
        f"{name}: {allowed.metric} {before.value:.4f} → {now.value:.4f}" for name, (before, now) in pairs.items()
    ) + f"; none is more than ci.max_drop ({allowed.max_drop:g}) below its interval on {base}."  # fmt: skip


def fall(before: Figure, now: Figure) -> float:
    """How far the value is now below the previous interval; 0 within it or above.

    >>> round(fall(Figure(0.9, low=0.85, high=0.95), Figure(0.75, low=0.7, high=0.8)), 2)
    0.1
    """
    return max(0.0, before.low - now.value)


def figure_of(name: str, metric: str, root: Path, revision: str | None = None) -> Figure | None:
    """The metric of a model in the working tree or in a git revision; None if there are no scores of the model."""
    for path in (f"metrics/details/{name}.json", f"metrics/{name}.json"):  # older versions have all in the second
        file = root / path
        if revision:
            text = committed(root, revision, path)
        else:
            text = file.read_text(encoding="utf-8") if file.is_file() else None
        if text is not None:
            return figure(text, metric, f"{path} of {revision}" if revision else path)
    return None


def figure(text: str, metric: str, where: str) -> Figure:
    """The metric at a dotted path and its interval; `UserError` if the file does not have them."""
    *parents, last = metric.split(".")
    try:
        section = json.loads(text)
        for parent in parents:
            section = section[parent]
        return Figure(float(section[last]), float(section[f"{last}_low"]), float(section[f"{last}_high"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{where} has no '{metric}' with its interval ({last}_low, {last}_high); "
            "set ci.metric in params.yaml to one that it has, such as test.weighted_f1."
        ) from None


def _loss(name: str, base: str, before: Figure, now: Figure, params: CiParams) -> str:
    return (
        f"{params.metric} of {name} fell from {before.value:.4f} on {base} to {now.value:.4f}, "
        f"{fall(before, now):.4f} below its interval there ({before.low:.4f} to {before.high:.4f}) where ci.max_drop "
        f"allows {params.max_drop:g}; revert the change, or raise ci.max_drop in params.yaml if the loss is intended."
    )
