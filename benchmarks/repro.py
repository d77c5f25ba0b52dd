"""The whole pipeline on real photos, through DVC, against three notebooks that train the same three models."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.notebook_way import OWN, POLICY, TIMM, Recipe, file_name, link_folders, recipe_of, serving_best
from benchmarks.real_photos import REPOSITORY, STRATEGIES, command, model, set_up
from benchmarks.real_photos import params as real_params
from benchmarks.results import Section
from benchmarks.shared import copy_photos, require_shared, weights
from benchmarks.timing import Pairs, median_seconds
from florafauna.base.metrics import weighted_f1
from florafauna.commands.params import parse_params
from florafauna.compare._verdict import ModelPair
from florafauna.compare.paired import Candidate, Question, compare_all
from florafauna.scores.bootstrap import Truth, score_intervals
from florafauna.scores.predictions import read_predictions
from florafauna.scores.settings import EvaluateParams

RUNS = 1  # a run of both takes about 25 minutes on two cores
OF_A_CLASS = 36  # photos; None: all 2,369
EPOCHS, BATCH = 30, 64  # as in presets/flora-fauna.yaml
VIEWS = {"convnext": 3, "vit": 2}  # as in the benchmark real_photos
TAIL = ["blocks.6", "conv_head", "bn2", "head"]
OURS, THEIRS = "florafauna", "notebooks' way"
TRIED_ON = 8  # one in so many photos serves to find the best number of workers
ABOUT = """{photos} photos of the shared set, {train} for training, {val} for validation, {test} for testing; weights
from ImageNet; {epochs} epochs each way, batches of {batch}, the same optimizers and rates, the best epoch on the
validation photos kept. {runs}
Notebooks' way (benchmarks/notebook_way.py): three processes one after another, on the pipeline's own split (links for
ImageFolder), decoding the originals and running the whole model in every epoch; {workers} DataLoader workers for
the three models, the fastest of those tried here.
florafauna: `dvc repro` of a project that holds nothing yet: audit, split, pixel store, weights, training ({views}
cycled views where layers are frozen), evaluation with intervals, comparison, report. "Everything else" is all but
the training loops and frozen prefixes: fifteen stages that each start Python and DVC, and import torch where they
need it.
Only the frozen prefix saves work by itself; of the model that is trained in all layers, which is the smallest of the
three, every epoch is computed both ways; decoding, memory format and the use of freed memory make the difference.
Weighted F1 on the same {test} test photos, with 95 % intervals over photos, resampled by group; "difference" is
florafauna's minus the notebooks', paired on the same resamples, and p that of McNemar's exact test."""


@dataclass(frozen=True)
class Run:
    """One run each way: seconds in all, seconds and predicted test labels of each model."""

    total: float
    seconds: dict[str, float]
    predicted: dict[str, list[str]]


def run() -> Section:
    """Both ways in turn, `RUNS` times, on the same photos and the same split."""
    require_shared()
    ours: list[Run] = []
    theirs: list[Run] = []
    with TemporaryDirectory() as name:
        root = Path(name)
        count = copy_photos(root / "photos", OF_A_CLASS)
        for number in range(RUNS):
            project = root / f"project{number}"
            set_up(project, params(root / "photos"))
            ours.append(_pipeline(project))
            if not number:
                test, manifest = (
                    _test_photos(project),
                    pd.read_csv(project / "data/manifest.csv", keep_default_na=False),
                )
                recipes = _recipes(root, manifest)
            theirs.append(_notebooks(root, recipes, list(test["path"])))
    counts = manifest["split"].value_counts()
    about = ABOUT.format(
        **{"photos": count, "epochs": EPOCHS, "batch": BATCH},
        **{split: counts[split] for split in ("train", "val", "test")},
        views=" and ".join(map(str, VIEWS.values())),
        runs=f"Medians of {RUNS} runs each way." if RUNS > 1 else "One run each way, for it takes so long.",
        workers=", ".join(str(recipe.workers) for recipe in recipes.values()),
    )
    columns = ("strategy", THEIRS, OURS, "times faster", f"F1, {THEIRS}", f"F1, {OURS}", "difference")
    return Section("The whole pipeline", about, columns, _rows(theirs, ours, test))


def params(photos: Path) -> dict[str, Any]:
    """params.yaml of this benchmark."""
    tree = real_params()
    tree["data"] = {"root": str(photos), "labels": str(photos)}
    tree["training"] |= {"epochs": EPOCHS, "batch_size": BATCH, "patience": EPOCHS}
    tree["training"]["head_init"] = "random"  # as the notebooks have it
    strong = {"rand_augment": POLICY}
    tree["models"] = {
        "efficientnet": model(
            "mobilenetv2_035", "all", rate=1.0e-3, optimizer="adam", weight_decay=0.0, train_size=160,
            augment={"scale": [0.6, 1.0], "color_jitter": 0.2},
        ),
        "convnext": model("mobilenetv2_100", "head", rate=5.0e-3, views=VIEWS["convnext"], augment=strong),
        "vit": model("mobilenetv2_100", TAIL, rate=1.0e-3, views=VIEWS["vit"], augment=strong),
    }  # fmt: skip
    return tree


def _pipeline(project: Path) -> Run:
    start = time.perf_counter()
    command(project, "dvc", "repro")
    total = time.perf_counter() - start
    seconds, predicted = {}, {}
    for name in STRATEGIES:
        seconds[name] = float(json.loads((project / f"metrics/timing/{name}.json").read_text())["seconds"])
        made = read_predictions(project / f"predictions/{name}/logits.parquet")
        predicted[name] = [made.labels[number] for number in made.part("test").predicted]
    return Run(total, seconds, predicted)


def _recipes(root: Path, manifest: pd.DataFrame) -> dict[str, Recipe]:
    """The notebooks of the three models, with the best number of workers for each, on folders of links."""
    tree = parse_params(params(root / "photos"))
    link_folders(manifest, root / "photos", root / "folders")
    link_folders(manifest.iloc[::TRIED_ON], root / "photos", root / "some")
    recipes = {}
    for name in STRATEGIES:
        given = tree.models[name]
        transform = OWN if name == "efficientnet" else TIMM
        recipe = recipe_of(given, weights(given.architecture.name), transform)
        best = serving_best(replace(recipe, batch_size=min(BATCH, 16)), root / "some")
        recipes[name] = replace(recipe, workers=best.workers)
    return recipes


def _notebooks(root: Path, recipes: dict[str, Recipe], photos: list[str]) -> Run:
    seconds, predicted = {}, {}
    for name, recipe in recipes.items():
        start = time.perf_counter()
        paper, out = root / "recipe.json", root / "trained.json"
        paper.write_text(json.dumps(asdict(recipe)))
        words = [sys.executable, "-m", "benchmarks.notebook_way", str(paper), str(root / "folders"), str(out)]
        subprocess.run(words, cwd=REPOSITORY, check=True)
        seconds[name] = time.perf_counter() - start
        by_file = json.loads(out.read_text())["predicted"]
        predicted[name] = [by_file[file_name(path)] for path in photos]
    return Run(sum(seconds.values()), seconds, predicted)


def _test_photos(project: Path) -> pd.DataFrame:
    """Path, label and group of the test photos, in the order of the predictions."""
    made = read_predictions(project / "predictions/vit/logits.parquet").part("test")
    return made.photos[["path", "label"]].assign(group=made.groups)


def _rows(theirs: list[Run], ours: list[Run], test: pd.DataFrame) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, strategy in STRATEGIES.items():
        timed = Pairs([run.seconds[name] for run in theirs], [run.seconds[name] for run in ours])
        scores = scored(theirs[-1].predicted[name], ours[-1].predicted[name], test)
        rows.append((strategy, median_seconds(timed.theirs), median_seconds(timed.ours), timed.ratio, *scores))
    rest = [run.total - sum(run.seconds.values()) for run in ours]
    rows.append(("everything else", "", median_seconds(rest), "", "", "", ""))
    total = Pairs([run.total for run in theirs], [run.total for run in ours])
    rows.append(("in all", median_seconds(total.theirs), median_seconds(total.ours), total.ratio, "", "", ""))
    return rows


def scored(theirs: list[str], ours: list[str], test: pd.DataFrame) -> tuple[str, str, str]:
    """Weighted F1 of both with intervals, and ours minus theirs with its interval and test."""
    labels = sorted(set(test["label"]) | set(theirs) | set(ours))
    code = {label: number for number, label in enumerate(labels)}
    targets, groups = np.array([code[label] for label in test["label"]]), test["group"].to_numpy()
    predicted = {THEIRS: np.array([code[each] for each in theirs]), OURS: np.array([code[each] for each in ours])}
    truth, intervals = Truth(targets, len(labels), groups), []
    for each in predicted.values():
        interval = score_intervals(truth, each)["weighted_f1"]
        intervals.append(f"{weighted_f1(targets, each):.3f} ({interval.low:.3f} to {interval.high:.3f})")
    candidates = {name: Candidate(each) for name, each in predicted.items()}
    pair = compare_all(candidates, truth, Question(EvaluateParams().margin)).pairs[0]
    return intervals[0], intervals[1], difference(pair)


def difference(pair: ModelPair) -> str:
    """Ours minus theirs, whichever of the two comes first in the pair."""
    value, low, high = pair.difference, pair.low, pair.high
    if pair.first == THEIRS:
        value, low, high = -value, -high, -low
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f}), p = {pair.p:.2f}"
