"""Score the cached logits again: committed metrics that say anything else were not written by the pipeline."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from florafauna.base.errors import UserError
from florafauna.base.files import write_json
from florafauna.bundle.bundle import PREDICTION_BATCH, Bundle, load_bundle
from florafauna.bundle.inference import Ready
from florafauna.bundle.info import BUNDLE
from florafauna.ci._commands import committed
from florafauna.ci._lock import compared_models, read_lock, stale_stages
from florafauna.commands.params import load_params
from florafauna.compare.compare import compare
from florafauna.evaluate.finish import claims
from florafauna.model.compute import for_inference
from florafauna.pixels.loading import EvalView, batches
from florafauna.pixels.store import PixelStore
from florafauna.scores.predictions import read_predictions
from florafauna.scores.scoring import score
from florafauna.scores.settings import EvaluateParams

SAME_FIGURE = 1e-4  # sums of two machines differ in the last of six digits; nobody edits less than this
SAME_LOGIT = 0.05  # share of the logits' range; bf16 on a GPU and on a CPU differ by less than a hundredth
PHOTOS = 32  # of the test, spread evenly: enough to tell another model, few enough for a large one on a CPU
READ = ("models", "predictions", "data", "metrics/timing", "metrics/data.json", "params.yaml", "dvc.lock")


def rescore(root: Path = Path()) -> str:
    """Compare the metrics of HEAD with new ones, and some logits with the models'; `UserError` names what differs.

    A stage that is out of date rightly gives other figures: then nothing is compared, and the sentence says so.
    """
    stages = read_lock(root)
    stale = stale_stages(root, stages, outputs=False)
    if stale:
        return f"nothing was scored again, because {stale[0].stage} has to run again anyway."
    names = compared_models(stages)
    for name in names:
        refuse_other_logits(root, name)
    with tempfile.TemporaryDirectory() as folder:
        again = score_again(root, Path(folder), names, load_params(root / "params.yaml").evaluate)
    for path, figures in again.items():
        text = committed(root, "HEAD", path) or (root / path).read_text(encoding="utf-8")
        said = _parse(path, text)
        if path.endswith(BUNDLE):  # which says more than figures
            said = {key: value for key, value in said.items() if key in figures}
        for key, found, expected in differences(said, figures):
            stage = _stage(path, names)
            raise UserError(
                f"{path} says {key} is {found} and scoring the cached logits again gives {expected}: it was edited "
                f"by hand; run `dvc repro --single-item --force {stage}` and `dvc repro`, "
                "and commit dvc.lock and metrics/."
            )
    return f"{len(again)} files of metrics and of bundles say what scoring the cached logits again gives."


def score_again(root: Path, folder: Path, names: list[str], params: EvaluateParams) -> dict[str, Any]:
    """What the metrics files of the models and of their comparison should hold, by path, and what bundles say of it.

    `folder` is written into.
    """
    (folder / "metrics/per_class").mkdir(parents=True)
    for path in READ:
        if (root / path).exists():
            (folder / path).symlink_to((root / path).resolve())
    bundles = {}
    for name in names:
        bundle = load_bundle(root / f"models/{name}")
        scores = score(read_predictions(root / f"predictions/{name}.parquet"), params)
        bundles[f"models/{name}/{BUNDLE}"] = claims(scores, params)
        write_json(folder / f"metrics/{name}.json", scores.summary | {"model": _about(root, name, bundle)})
        write_json(folder / f"metrics/per_class/{name}.json", scores.per_class)
    with redirect_stdout(StringIO()):
        compare(names, params, folder)
    written = [*(folder / "metrics").glob("*.json"), *(folder / "metrics/per_class").glob("*.json")]
    return bundles | {
        str(file.relative_to(folder)): _parse(str(file), file.read_text(encoding="utf-8"))
        for file in sorted(written)
        if not file.is_symlink()
    }


def refuse_other_logits(root: Path, name: str) -> None:
    """`UserError` where a model gives some test photos other logits than predictions/M.parquet holds."""
    bundle = load_bundle(root / f"models/{name}")
    store = PixelStore(root / "data/processed/test")
    predictions = read_predictions(root / f"predictions/{name}.parquet")
    rows = np.unique(np.linspace(0, len(store) - 1, PHOTOS).astype(int))
    of_test = {path: row for row, path in enumerate(predictions.photos["path"])}
    paths = [store.names[row] for row in rows]
    again = some_logits(bundle, store, [int(row) for row in rows])
    if set(paths) <= of_test.keys() and again.shape[1] == predictions.logits.shape[1]:
        kept = predictions.logits[[of_test[path] for path in paths]]
        if np.abs(again - kept).max() <= SAME_LOGIT * max(float(np.ptp(kept)), 1e-6):
            return
    raise UserError(
        f"predictions/{name}.parquet does not come from the model in models/{name}; "
        f"run `dvc repro --single-item --force evaluate@{name}` and `dvc repro`, and commit dvc.lock and metrics/."
    )


def some_logits(bundle: Bundle, store: PixelStore, rows: list[int]) -> np.ndarray:
    """Logits, float32 (rows, classes), of some photos of a store."""
    compute = for_inference(bundle.info["precision"])
    data = bundle.data
    view = EvalView(data.test_size, data.crop_pct, data.interpolation)
    ready = Ready(bundle.model, data, compute)
    return np.concatenate(
        [ready.logits(batch.images).numpy() for batch in batches(store, view, rows, PREDICTION_BATCH)]
    )


def differences(found: Any, expected: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two trees of JSON differ, as (dotted key, found, expected); figures may differ by `SAME_FIGURE`."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in [*expected, *(name for name in found if name not in expected)]:
            below = f"{key}.{name}" if key else name
            yield from differences(found.get(name, "absent"), expected.get(name, "absent"), below)
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, f"{key}[{number}]")
    elif _is_number(found) and _is_number(expected):
        if abs(found - expected) > SAME_FIGURE * max(1.0, abs(expected)):
            yield key, found, expected
    elif found != expected:
        yield key, found, expected


def _stage(path: str, names: list[str]) -> str:
    """The stage that writes a metrics file or a bundle.json."""
    of_model = [name for name in (Path(path).stem, Path(path).parent.name) if name in names]
    return f"evaluate@{of_model[0]}" if of_model else "compare"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _about(root: Path, name: str, bundle: Bundle) -> dict[str, Any]:
    """What metrics/M.json says of the model itself, taken from its bundle again."""
    said = _parse(name, committed(root, "HEAD", f"metrics/{name}.json") or "{}").get("model", {})
    size = (root / f"models/{name}/model.safetensors").stat().st_size
    facts = {key: bundle.info[key] for key in said if key in bundle.info}
    return facts | {"megabytes": round(size / 1e6, 3)}


def _parse(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(f"{path} is no valid JSON; run `git checkout {path}`, or `dvc repro` and commit it.") from None
