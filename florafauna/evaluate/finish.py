"""Turns a trained model into a bundle: the same weights, with everything that evaluation found out."""

import shutil
from pathlib import Path
from typing import Any

from florafauna.base.files import atomic_path, write_atomic
from florafauna.bundle.info import BUNDLE, WEIGHTS, write_info
from florafauna.evaluate._licences import demands
from florafauna.evaluate.card import model_card
from florafauna.scores.score import Scores
from florafauna.scores.settings import EvaluateParams

HISTORY, CARD = "history.csv", "MODEL_CARD.md"
PARTS = ("test", "val", "held_out")


def bundle_info(
    trained: dict[str, Any],
    scores: Scores,
    ancestors: tuple[dict[str, str], ...],
    photos: dict[str, dict[str, Any]],
    params: EvaluateParams,
) -> dict[str, Any]:
    """The content of bundle.json: training.json, completed by taxonomy, calibration, photos and scores.

    `photos` are the number and fingerprint of the photos scored, by split; `ancestors` the taxa of each class in the
    order of the labels, empty where none is known.
    """
    taxonomy = {label: taxa for label, taxa in zip(trained["labels"], ancestors, strict=False) if taxa}
    return trained | {
        "licence_demands": demands(trained["weights"].get("licence")),
        "photos": trained["photos"] | photos,
        "taxonomy": taxonomy,
        **claims(scores, params),
        "evaluate": params.model_dump(mode="json"),
    }


def claims(scores: Scores, params: EvaluateParams) -> dict[str, Any]:
    """What a bundle claims about itself: calibration, and scores with intervals, by split and by class."""
    of_parts = {part: scores.details[part] for part in PARTS if part in scores.details}
    more = {key: scores.details[key] for key in ("seeds", "calibration", "ranks") if key in scores.details}
    per_class = {part: scores.per_class[part] for part in of_parts}
    found: dict[str, Any] = {"confidence": params.confidence} | of_parts | more | {"per_class": per_class}
    return {"calibration": scores.calibration, "scores": found}


def write_bundle(out: Path, trained: Path, info: dict[str, Any]) -> None:
    """Write the bundle's folder; bundle.json comes last, so that a bundle without it is known to be incomplete."""
    (out / BUNDLE).unlink(missing_ok=True)
    for name in (WEIGHTS, HISTORY):
        with atomic_path(out / name) as temporary:
            shutil.copyfile(trained / name, temporary)
    write_atomic(out / CARD, model_card(info))
    write_info(out, info)
