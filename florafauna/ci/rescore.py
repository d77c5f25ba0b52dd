"""Score the cached logits again: committed metrics that say anything else were not written by the pipeline."""

import json
import math
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from florafauna.bundle import load_bundle, predict_logits
from florafauna.ci.commands import committed
from florafauna.ci.lock import Stale, compared_models, read_lock, stale_stages
from florafauna.compare import compare
from florafauna.compute import for_inference
from florafauna.errors import UserError
from florafauna.files import write_json
from florafauna.params import EvaluateParams, load_params
from florafauna.predictions import read_predictions
from florafauna.scoring import score
from florafauna.store import PixelStore

SAME_FIGURE = 1e-4  # two machines' sums differ in the last of six digits; nobody edits less than this
SAME_LOGIT = 0.05  # share of the logits' range; bf16 on a GPU and fp32 on a CPU differ by less than a hundredth
INPUTS = ("models", "predictions", "data", "metrics/timing")


def rescore(root: Path = Path()) -> str:
    """Compare the metrics files of HEAD, and those in the cache, with new ones; `UserError` names the first to differ.

    A stage that is out of date gives other figures rightly: then nothing is compared, and that is said.
    """
    stages = read_lock(root)
    names = compared_models(stages)
    stale = scores_out_of_date(stale_stages(root, stages), names)
    if stale:
        return f"nothing was scored again, because {stale[0].stage} has to run again anyway."
    params = load_params(root / "params.yaml").evaluate
    for name in names:
        refuse_other_logits(root, name)
    with tempfile.TemporaryDirectory() as folder:
        files = score_again(root, Path(folder), names, params)
        for file in files:
            _refuse_other_figures(root, file, json.loads((Path(folder) / file).read_text(encoding="utf-8")))
    return f"{len(files)} metrics files say what scoring the cached logits again gives."


def scores_out_of_date(stale: list[Stale], names: list[str]) -> list[Stale]:
    """The stages among `stale` that the scores of these models come from."""
    del names  # every stage leads to the comparison
    return stale


def refuse_other_logits(root: Path, name: str, photos: int = 32) -> None:
    """`UserError` where a model gives other logits for some test photos than the file of its predictions holds."""
    bundle = load_bundle(root / f"models/{name}")
    store = PixelStore(root / "data/processed/test")
    predictions = read_predictions(root / f"predictions/{name}.parquet").part("test")
    raise NotImplementedError((bundle, store, predictions, photos, predict_logits, for_inference, np))


def score_again(root: Path, folder: Path, names: list[str], params: EvaluateParams) -> list[str]:
    """Write all metrics files anew below `folder`; return their paths, relative to it."""
    return []


def _refuse_other_figures(root: Path, path: str, again: Any) -> None:
    pass
