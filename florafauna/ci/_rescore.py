"""Score the cached logits again: committed metrics that differ were not written by the pipeline."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from florafauna.base.errors import UserError
from florafauna.base.files import write_json
from florafauna.base.settings import read_section
from florafauna.bundle.bundle import PREDICTION_BATCH, Bundle, load_bundle
from florafauna.bundle.inference import Ready
from florafauna.bundle.info import BUNDLE, read_info
from florafauna.ci._commands import committed
from florafauna.ci._lock import evaluated_models, read_stages, stale_stages, writer
from florafauna.compare.compare import compare
from florafauna.evaluate.evaluate import all_scores, model_details
from florafauna.evaluate.finish import claims
from florafauna.folds.out_of_fold import FINAL_LOGITS, read_out_of_fold
from florafauna.model.compute import for_inference
from florafauna.pixels.loading import EvalView, batches
from florafauna.pixels.store import PixelStore
from florafauna.scores.predictions import LOGITS, PER_CLASS, read_predictions
from florafauna.scores.settings import EvaluateParams

SAME_FIGURE = 1.5e-4  # two machines may round the last of four digits differently; nobody edits by less than this
SAME_LOGIT = 0.05  # share of the logits' range; bf16 on a GPU and on a CPU differ by less than a hundredth
PHOTOS = 32  # of the test photos, evenly spread: enough to tell another model, few enough for a large one on a CPU
READ = ("data/processed/test", "data/quarantine.csv", "data/examples.parquet")
WRITTEN = ("metrics", "predictions")


def rescore(root: Path = Path()) -> str:
    """Compare the metrics of HEAD with new ones, and some logits with the models'; `UserError` names what differs.

    If a stage is out of date, other scores are expected: then nothing is compared, and the sentence says so.
    """
    stages = read_stages(root)
    stale = stale_stages(stages, outputs=False)
    if stale:
        return f"nothing was scored again, because {stale[0].stage} has to run again anyway."
    names = evaluated_models(stages)
    for name in names:
        refuse_other_logits(root, name)
    again = score_again(root, names, read_section("evaluate", EvaluateParams, root / "params.yaml"))
    for path, figures in again.items():
        said = _parse(path, committed(root, "HEAD", path) or (root / path).read_text(encoding="utf-8"))
        if path.endswith(BUNDLE):  # which has more than scores
            said = {key: value for key, value in said.items() if key in figures}
        for key, found, expected in differences(said, figures):
            raise UserError(
                f"{path} says {key} is {found} and scoring the cached logits again gives {expected}: it was edited "
                f"by hand; run `dvc repro --single-item --force {writer(stages, path)}` and `dvc repro`, "
                "and commit dvc.lock and metrics/."
            )
    return f"{len(again)} files of metrics and bundles agree with scoring the cached logits again."


def score_again(root: Path, names: list[str], params: EvaluateParams) -> dict[str, Any]:
    """What evaluate and compare would write into JSON files and bundles, from the cached logits, by path."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:  # Windows keeps what is still mapped
        folder, source = Path(temporary), root.resolve()
        for part in (*READ, *(f"models/{name}" for name in names)):
            _link(source / part, folder / part)
        before = {}
        for part in WRITTEN:  # file by file: a file that is written again replaces its link
            for file in filter(Path.is_file, (source / part).rglob("*")):
                before[file.relative_to(source)] = _link(file, folder / file.relative_to(source))
        bundles = {f"models/{name}/{BUNDLE}": evaluate_again(folder, name, params) for name in names}
        with redirect_stdout(StringIO()):
            compare(names, params, folder)
        files = [file.relative_to(folder) for part in WRITTEN for file in sorted((folder / part).rglob("*.json"))]
        again = [file for file in files if _stamp(folder / file) != before.get(file)]
        return bundles | {file.as_posix(): json.loads((folder / file).read_text(encoding="utf-8")) for file in again}


def _link(source: Path, target: Path) -> tuple[int, int]:
    """Make `target` a link to `source`, or a copy where links are not allowed (Windows); returns its stamp."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        if source.is_dir():
            shutil.copytree(source, target, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)
    return _stamp(target)


def _stamp(file: Path) -> tuple[int, int]:
    """What differs when a file has been written again: its number, and its time of change in nanoseconds."""
    status = file.lstat()
    return status.st_ino, status.st_mtime_ns


def evaluate_again(folder: Path, name: str, params: EvaluateParams) -> dict[str, Any]:
    """Write the metrics of one model as the evaluate stage does, from its cached logits; return what its bundle claims.

    `model` in metrics/details/M.json comes from the bundle.
    """
    bundle, predictions = folder / f"models/{name}", folder / f"predictions/{name}"
    found = read_out_of_fold(folder / f"predictions/folds/{name}")
    scores = all_scores(read_predictions(predictions / LOGITS), found, params)
    write_json(predictions / PER_CLASS, scores.per_class)
    write_json(folder / f"metrics/{name}.json", scores.metrics)
    details = scores.details | {"model": model_details(read_info(bundle), bundle)}
    write_json(folder / f"metrics/details/{name}.json", details)
    return claims(scores, params)


def refuse_other_logits(root: Path, name: str) -> None:
    """`UserError` if a model gives some test photos other logits than those in predictions/M."""
    bundle = load_bundle(root / f"models/{name}")
    store = PixelStore(root / "data/processed/test")
    rows = np.unique(np.linspace(0, len(store) - 1, PHOTOS).astype(int))
    kept = _kept_logits(root, name, [store.names[row] for row in rows], rows)
    again = some_logits(bundle, store, [int(row) for row in rows])
    if kept is not None and again.shape == kept.shape:
        same = SAME_LOGIT * max(float(np.ptp(kept)), 1e-6)
        if np.abs(again - kept).max() <= same:
            return
    raise UserError(
        f"predictions/{name} does not come from the model in models/{name}; "
        f"run `dvc repro --single-item --force evaluate@{name}` and `dvc repro`, and commit dvc.lock and metrics/."
    )


def _kept_logits(root: Path, name: str, paths: list[str], rows: np.ndarray) -> np.ndarray | None:
    """What the model that was handed on is said to give these test photos; None where some are unknown."""
    folds = root / f"predictions/folds/{name}"
    found = read_out_of_fold(folds)
    if found is not None and found.is_final:
        logits: np.ndarray = np.load(folds / FINAL_LOGITS)
        return logits[rows] if rows.max() < len(logits) else None
    predictions = read_predictions(root / f"predictions/{name}" / LOGITS)
    of_test = {path: row for row, path in enumerate(predictions.photos["path"])}
    return predictions.logits[[of_test[path] for path in paths]] if set(paths) <= of_test.keys() else None


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
    """Where two JSON trees differ, as (dotted key, found, expected); numbers may differ by `SAME_FIGURE`.

    >>> list(differences({"a": 1, "b": [2, 3]}, {"a": 1, "b": [2, 4]}))
    [('b[1]', 3, 4)]
    """
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


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parse(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(f"{path} is not valid JSON; run `git checkout {path}`, or `dvc repro` and commit it.") from None
