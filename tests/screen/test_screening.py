"""The screening of two small backbones: what it writes, that the page says the same, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.reading import Element, read
from helpers.tiny import ARCHITECTURES, LABELS, TRAIN, VAL, Place
from PIL import Image

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.commands.params import parse_params
from florafauna.model.settings import Architecture, Weights
from florafauna.model.weights import make_initial_weights
from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store
from florafauna.scores.settings import EvaluateParams
from florafauna.screen.features import FeaturesJob, write_features
from florafauna.screen.screen import ScreenJob, screen
from florafauna.screen.settings import Backbone, ScreenParams, screen_of
from florafauna.training._feeds import PixelFeed
from florafauna.training.frozen._probe import classifier_features

EVALUATE = EvaluateParams(resamples=200)
BACKBONES = ("test_efficientnet", "test_vit")


def backbone(name: str, **values: Any) -> Backbone:
    architecture = {"name": name, **ARCHITECTURES[name]}
    return Backbone.model_validate(
        {"architecture": architecture, "weights": {"source": "none"}, "size": 32, "precision": "fp32"} | values
    )


def features(place: Place, name: str, out: Path) -> Path:
    job = FeaturesJob(name, backbone(name), place.initial(backbone(name).architecture), (place.train, place.val), out)
    write_features(job)
    return out


def job(place: Place, root: Path, *names: str) -> ScreenJob:
    return ScreenJob(
        ScreenParams(folds=3, draws=2).model_copy(update={"backbones": {name: backbone(name) for name in names}}),
        EVALUATE,
        stores=(place.train, place.val),
        features=root / "features",
        metrics=root / "screening.json",
        details=root / "details.json",
        tables=root / "tables",
        report=root / "screening.html",
    )


@pytest.fixture(scope="module")
def done(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a screening has written."""
    root = tmp_path_factory.mktemp("screening")
    for name in BACKBONES:
        features(place, name, root / "features" / name)
    screen(job(place, root, *BACKBONES))
    return root


@pytest.fixture(scope="module")
def page(done: Path) -> Element:
    return read((done / "screening.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", BACKBONES)
def test_features_are_what_training_solves_a_head_on(place: Place, done: Path, name: str, tmp_path: Path) -> None:
    model_params = backbone(name).as_model
    model, _ = place.built(model_params)
    feed = PixelFeed(place.photos(model, model_params), model, model)
    initial = place.initial(model_params.architecture)
    train, val = classifier_features(feed, model, sha256_file(initial), tmp_path)
    expected = np.concatenate([each.rows(slice(None))[0].numpy() for each in (*train, val)])
    found = np.load(done / "features" / name / "features.npy")
    assert found.shape == (TRAIN + VAL, expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_backbone_made_for_another_size_is_shown_the_size_asked_for(place: Place, tmp_path: Path) -> None:
    given = backbone("test_vit", architecture={"name": "test_vit"})
    initial = tmp_path / "initial.safetensors"
    make_initial_weights(given.architecture, given.weights, initial)
    write_features(FeaturesJob("vit", given, initial, (place.val,), tmp_path / "out"))
    assert np.load(tmp_path / "out/features.npy").shape == (VAL, 64)
    assert json.loads((tmp_path / "out/about.json").read_text())["size"] == 32


def test_the_metrics_are_few_and_the_details_have_every_backbone(done: Path) -> None:
    metrics, details = (json.loads((done / name).read_text()) for name in ("screening.json", "details.json"))
    assert set(metrics) == {"best", "val", "low", "high"}
    assert set(details["backbones"]) == set(BACKBONES)
    best = details["backbones"][metrics["best"]]["solved head"]
    assert metrics["val"]["weighted_f1"] == pytest.approx(best["weighted_f1"], abs=1e-4)
    assert best["weighted_f1"] == max(each["solved head"]["weighted_f1"] for each in details["backbones"].values())
    for each in details["backbones"].values():
        for scores in (each["solved head"], each["nearest class mean"]):
            assert scores["weighted_f1_low"] <= scores["weighted_f1"] <= scores["weighted_f1_high"]
            if scores is not best:
                difference = scores["weighted_f1"] - best["weighted_f1"]
                assert scores["difference"] == pytest.approx(difference, abs=2e-6)
                assert scores["difference_low"] <= scores["difference"] <= scores["difference_high"]
    text = (done / "details.json").read_text()
    assert "per_second" not in text, "what differs from run to run is not in git"
    shares = details["learning_curve"]["shares"]
    assert [shares[share]["photos"] for share in ("0.5", "1.0")] == pytest.approx([8, 16], abs=1)


def test_tables_have_a_row_for_each_head_and_each_class(done: Path) -> None:
    table = pd.read_csv(done / "tables/backbones.csv")
    assert sorted(zip(table["backbone"], table["head"], strict=True)) == [
        (name, head) for name in BACKBONES for head in ("nearest class mean", "solved head")
    ]
    assert (table[["photos_per_second", "parameters", "megabytes"]] > 0).all(axis=None)
    assert pd.read_csv(done / "tables/classes.csv")["label"].tolist() == LABELS


def test_every_figure_of_the_page_is_that_of_the_details(done: Path, page: Element) -> None:
    details = json.loads((done / "details.json").read_text())
    shown = [each for each in page.all("data") if "data-source" in each.attributes]
    assert len(shown) > 40
    for each in shown:
        value: Any = {"screening": details}
        for key in json.loads(each.attributes["data-source"]):
            value = value[key]
        assert float(each.attributes["value"]) == value
    assert details["learning_curve"]["sentence"] in page.text
    assert details["verdict"] in page.one("h1").text


def test_the_page_opens_without_a_message_or_a_request_and_fits_a_phone(browser: Any, done: Path) -> None:
    said: list[str] = []
    asked: list[str] = []
    address = (done / "screening.html").as_uri()
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        opened = context.new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(address, wait_until="networkidle")
        assert opened.evaluate("document.documentElement.scrollWidth") <= 390
        opened.click("#backbone-table th:nth-child(3) button")
        scores = opened.locator("#backbone-table tbody td:nth-child(3) > data").all_inner_texts()
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]


def test_features_of_other_photos_are_refused(place: Place, done: Path, tmp_path: Path) -> None:
    one = tmp_path / "photos"
    one.mkdir()
    Image.new("RGB", (48, 40), "olive").save(one / "a.png")
    row = {"path": "a.png", "label": "fern", "target": 0, "sha256": sha256_file(one / "a.png"), "width": 48}
    rows = pd.DataFrame([row | {"height": 40, "held_out": "", "group": "", "cluster": ""}])
    build_store(rows, LABELS, open_source(one), tmp_path / "other", 40, workers=1)
    wanted = job(place, done, *BACKBONES)
    with pytest.raises(UserError, match=r"has the features of other photos; run `dvc repro screen/dvc.yaml`"):
        screen(ScreenJob(**vars(wanted) | {"stores": (place.train, tmp_path / "other")}))


def tree(**screen: Any) -> dict[str, Any]:
    models = {"vit": {"architecture": "test_vit", "weights": "none", "trainable": "all", "train_size": 64}}
    return {"data": {"root": "a", "labels": "a"}, "image": {"store_size": 64}, "models": models, "screen": screen}


def test_backbones_are_written_as_models_are() -> None:
    given = {"a": {"architecture": "test_vit", "weights": "hub"}, "b-2": {"architecture": "x", "weights": "none"}}
    found = parse_params(tree(backbones=given)).screen
    assert found.backbones["a"].architecture == Architecture(name="test_vit")
    assert found.backbones["b-2"].weights == Weights(source="none")
    assert (found.folds, found.backbones["a"].size) == (5, None)
    assert screen_of({}, "params.yaml").backbones == {}


def test_the_example_of_the_docs_is_valid(repository: Path) -> None:
    (example,) = re.findall(r"```yaml\n(screen:.*?)```", (repository / "docs/dvc.md").read_text(), re.DOTALL)
    assert set(screen_of(yaml.safe_load(example), "docs").backbones) == {"mobilenet", "dinov3_s"}


@pytest.mark.parametrize(
    ("screen", "says"),
    [
        ({"fold": 5}, r"unknown key 'screen.fold'; did you mean 'folds'\?"),
        ({"folds": 2}, r"'screen.folds': .* 3, not 2"),
        ({"backbones": ["a"]}, "'screen.backbones' must be a section with keys"),
        ({"backbones": {"a": {"architecture": "x"}}}, "'screen.backbones.a.weights' is missing"),
        (
            {"backbones": {"a": {"architecture": "x", "weights": "none", "train_size": 3}}},
            r"'screen.backbones.a.train_size'; did you mean 'size'\?",
        ),
        ({"backbones": {"vit.l": {}}}, r"the backbone 'vit\.l' has a '\.' in its name"),
        ({"backbones": {"a/b": {}}}, "files are named after the backbone 'a/b'"),
        ({"backbones": {"A": {}, "a": {}}}, "the backbones 'a' and 'A' have the same files"),
        (
            {"backbones": {"a": {"architecture": "x", "weights": "none", "size": 65}}},
            r"screen.backbones.a.size \(65\) exceeds image.store_size \(64\)",
        ),
    ],
)
def test_mistakes_are_named(screen: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_params(tree(**screen))
    assert re.search(says, str(refused.value))
