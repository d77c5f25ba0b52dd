"""Suspected wrong labels on planted errors, beside cleanlab on the same out-of-fold probabilities."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cleanlab.filter import find_label_issues

from benchmarks.folds import FOLDS, MODEL, cross_validated, some_photos, stores_of
from benchmarks.results import Section
from benchmarks.shared import require_shared
from florafauna.compare.report._wrong_labels import suspected
from florafauna.scores.calibration import softmax
from florafauna.scores.cross_validation import out_of_fold_predictions

SHARE = 0.05
SEEDS = 2
FILTERS = ("prune_by_noise_rate", "both", "confident_learning", "prune_by_class")  # the first is cleanlab's default
PRECISIONS = (0.8, 0.6)
ABOUT = """Of the shared photos' labels {share:.0%} were changed to another of the 15 species, drawn by {seeds} seeds
({planted} in all). {model} with its head solved for scored every photo by {folds} folds; ours and the filters of
cleanlab 2.9 (`find_label_issues`, ranked by self-confidence) were given the same probabilities. Precision and recall
are those of planted errors; what was wrong before counts as a false alarm. The last row is what a look at validation
and test photos alone could find at most."""


def run() -> Section:
    """All draws together."""
    require_shared()
    names = ("florafauna", *(f"cleanlab, {name}" for name in FILTERS))
    hits: dict[str, list[np.ndarray]] = {name: [] for name in names}
    planted_in_all, tested = 0, []
    for seed in range(SEEDS):
        with TemporaryDirectory() as name:
            work = Path(name)
            photos = some_photos(None)
            rng = np.random.default_rng(seed)
            wrong = rng.random(len(photos)) < SHARE
            labels = np.array(sorted(photos["label"].unique()))
            number = np.searchsorted(labels, photos["label"].to_numpy(str))
            number = np.where(wrong, (number + rng.integers(1, len(labels), len(photos))) % len(labels), number)
            stores_of(photos.assign(label=labels[number]), work)
            found = cross_validated(work)
        predictions = out_of_fold_predictions("m", found)
        planted = found.photos["path"].isin(photos.loc[wrong, "path"]).to_numpy()
        planted_in_all += int(planted.sum())
        tested.append((found.photos["split"] != "train").to_numpy()[planted].mean())
        row_of = {path: row for row, path in enumerate(found.photos["path"])}
        hits["florafauna"].append(planted[[row_of[each.path] for each in suspected(predictions)]])
        for name in FILTERS:
            ranked = find_label_issues(
                predictions.targets,
                softmax(predictions.logits),
                filter_by=name,
                return_indices_ranked_by="self_confidence",
            )
            hits[f"cleanlab, {name}"].append(planted[ranked])
    rows = [_row(name, each, planted_in_all) for name, each in hits.items()]
    rows.append(("validation and test photos alone", "", "", f"{np.mean(tested):.2f} at most", *[""] * len(PRECISIONS)))
    facts = {"share": SHARE, "seeds": SEEDS, "planted": planted_in_all, "model": MODEL, "folds": FOLDS}
    at = tuple(f"recall at precision {precision}" for precision in PRECISIONS)
    return Section("Suspected wrong labels", ABOUT.format(**facts), ("way", "listed", "precision", "recall", *at), rows)


def _row(name: str, hits: list[np.ndarray], planted: int) -> tuple[str, ...]:
    """`hits` says of each listed photo, draw by draw in the order of the list, whether its label was planted."""
    listed, right = sum(map(len, hits)), sum(int(each.sum()) for each in hits)
    at = [sum(_hits_at(each, precision) for each in hits) / planted for precision in PRECISIONS]
    figures = (f"{right / listed:.2f}", f"{right / planted:.2f}", *(f"{recall:.2f}" for recall in at))
    return (name, str(listed), *figures)


def _hits_at(hits: np.ndarray, precision: float) -> int:
    """The planted errors in the longest beginning of the list that has this precision."""
    reached = np.flatnonzero(hits.cumsum() / np.arange(1, len(hits) + 1) >= precision)
    return int(hits[: reached[-1] + 1].sum()) if len(reached) else 0
