"""params.yaml: what is misspelt, of the wrong kind or contradicts itself is refused by name, before anything runs."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from florafauna.base.errors import UserError
from florafauna.base.settings import read_section
from florafauna.commands.params import Params, load_params, parse_params
from florafauna.model.settings import ModelParams, read_model
from florafauna.preprocess.settings import ImageParams
from florafauna.scores.settings import EvaluateParams
from florafauna.split.settings import SplitParams

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = "models.vit"
PUBLISHED = sorted([REPOSITORY / "params.yaml", *(REPOSITORY / "presets").glob("*.yaml")])


def tree(**changes: Any) -> dict[str, Any]:
    """A valid params tree with dotted keys (`models__vit__rate`) replaced."""
    valid: dict[str, Any] = {
        "data": {"root": "data/raw", "labels": "data/raw"},
        "split": {},
        "image": {"store_size": 64},
        "training": {"train_size": 32},
        "models": {"vit": {"architecture": "test_vit", "weights": "none", "trainable": "all"}},
    }
    for dotted, value in changes.items():
        *path, key = dotted.split("__")
        section = valid
        for part in path:
            section = section.setdefault(part, {})
        section[key] = value
    return valid


def model(**changes: Any) -> ModelParams:
    return parse_params(tree(**{f"models__vit__{key}": value for key, value in changes.items()})).models["vit"]


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as refused:
        parse_params(tree(**changes))
    return str(refused.value)


def refusal_of_models(*names: Any) -> str:
    """The message for models of these names."""
    with pytest.raises(UserError) as refused:
        parse_params(tree() | {"models": {name: tree()["models"]["vit"] for name in names}})
    return str(refused.value)


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


VALID = """
data: {root: data/raw, labels: data/raw}
split: {val: 0.1, test: 0.1}
image: {store_size: 64}
training: {train_size: 32, rate: 1e-4, weight_decay: 5E-2, warmup_epochs: 2}
models:
  vit: {architecture: test_vit, weights: none, trainable: all}
"""


# the published files


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_published_params_are_valid(path: Path) -> None:
    params = load_params(path)
    assert set(params.models) == {"efficientnet", "convnext", "vit"}


def test_there_are_presets() -> None:
    assert len(PUBLISHED) >= 3


# names of models, which are names of files


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("initial", "models/initial is a folder of other files"),
        ("Trained", "models/trained is a folder of other files"),
        ("data", "metrics/data.json describes the photos"),
        ("comparison", "metrics/comparison.json compares the models"),
        ("ensemble", "plots and report have an ensemble of all models"),
        ("CON", "Windows has no files of that name"),
        ("lpt1.small", "Windows has no files of that name"),
    ],
)
def test_a_model_cannot_have_the_name_of_other_files(name: str, why: str) -> None:
    assert f"params.yaml: {why}; give the model '{name}' another name." in refusal_of_models(name)


@pytest.mark.parametrize(
    "name", ["a:b", "a/b", "a\\b", "what?", "vit ", "a b", ".vit", "-vit", "vit.", "größe", "", 1, None]
)
def test_a_model_cannot_have_a_name_that_files_cannot_have(name: Any) -> None:
    assert f"files are named after the model {name!r}; name it with letters a to z" in refusal_of_models(name)


@pytest.mark.parametrize("name", ["vit", "ViT-B_16.v2", "2", "_", "console", "nul-model"])
def test_other_names_are_taken(name: str) -> None:
    assert list(parse_params(tree() | {"models": {name: tree()["models"]["vit"]}}).models) == [name]


def test_models_cannot_differ_in_case_alone() -> None:
    assert "the models 'ViT' and 'vit' have the same files where case does not count" in refusal_of_models("vit", "ViT")


# unknown keys


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("splt", "split"),
        ("split__vall", "val"),
        ("split__group", None),
        ("training__rat", "rate"),
        ("training__lr", "rate"),
        ("training__augment__mixupp", "mixup"),
        ("models__vit__optimiser", "optimizer"),
        ("models__vit__learning_rate", "rate"),
        ("models__vit__freeze", "trainable"),
        ("models__vit__augment__randaugment", "rand_augment"),
        ("models__vit__augment__reprob", "random_erasing"),
        ("models__vit__linear_probe", "head_init"),
        ("evaluate__confidense", "confidence"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(key: str, meant: str | None) -> None:
    message = refusal(**{key: 1})
    assert (
        f"'{key.replace('__', '.')}'" in message
        or f"'models.vit.{key.partition('__')[2].replace('__', '.')}'" in message
    )
    assert f"did you mean '{meant}'?" in message if meant else "valid keys are" in message


@given(st.text(min_size=1))
def test_no_unknown_key_is_passed_over(key: str) -> None:
    assert f"unknown key 'models.vit.{key}'" in refusal(models={"vit": tree()["models"]["vit"] | {key: 1}}) or (
        key in ModelParams.model_fields
    )


@pytest.mark.parametrize("key", ["architecture", "weights"])
def test_what_a_model_is_cannot_be_shared(key: str) -> None:
    assert f"unknown key 'training.{key}'" in refusal(**{f"training__{key}": "test_vit"})


# wrong kinds of values


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rate", "fast"),
        ("rate", "1e-4"),  # text in quotes stays text
        ("rate", 0),
        ("rate", -1e-3),
        ("rate", float("nan")),
        ("rate", float("inf")),
        ("weight_decay", float("nan")),
        ("epochs", 2.5),
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", "64"),
        ("optimizer", "lion"),
        ("head_init", "zeros"),
        ("loss", "focal"),
        ("schedule", "step"),
        ("label_smoothing", 1.0),
        ("ema", 1.0),
        ("layer_decay", 0.0),
        ("compile", "yes"),
        ("precision", "fp64"),
        ("train_size", 8),
        ("final_rate", float("nan")),
        ("workers", -1),
        ("trainable", "tail"),
        ("trainable", 3),
        ("augment", "strong"),
        ("architecture", 5),
    ],
)
def test_a_wrong_value_is_refused_by_its_full_key(key: str, value: object) -> None:
    message = refusal(**{f"{MODEL}.{key}".replace(".", "__"): value})
    assert f"{MODEL}.{key}" in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("section", ["data", "split", "image", "training", "models"])
def test_a_section_without_keys_is_refused(section: str) -> None:
    assert section in refusal(**{section: "no section"})


def test_what_is_missing_is_named() -> None:
    without = tree()
    del without["models"]["vit"]["trainable"]
    with pytest.raises(UserError, match=re.escape("'models.vit.trainable' is missing.")):
        parse_params(without)


def test_a_file_without_models_is_refused() -> None:
    assert "at least one model" in refusal(models={})


def test_the_params_of_an_unknown_model_are_refused_with_the_known_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no model 'resnet'; it has vit"):
        read_model("resnet", written(tmp_path, VALID))


# contradictions


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "plateau", "plateau_patience": 4, "patience": 5}, "before the rate ever falls"),
        ({"schedule": "cosine", "patience": 2}, "at least 5"),
        ({"epochs": 3, "warmup_epochs": 3}, "must be below epochs"),
        ({"trainable": "head", "layer_decay": 0.9}, "no effect with trainable: head"),
        ({"trainable": []}, "nothing would be trained"),
        ({"views": 2, "augment": {"mixup": 0.2}}, "views cannot be cycled"),
        ({"batch_size": 31, "augment": {"cutmix": 1.0}}, "must be even under mixup and cutmix"),
        ({"views": 16}, "would never be used"),
        ({"optimizer": "lbfgs"}, "lbfgs solves the head alone; set trainable: head"),
        ({"optimizer": "lbfgs", "trainable": "head", "norms": "all"}, "trains more than the head"),
        ({"optimizer": "lbfgs", "trainable": "head", "augment": {"cutmix": 1.0}}, "cannot mix photos"),
        ({"optimizer": "lbfgs", "trainable": "head", "wise": "auto"}, "mean with the start"),
        ({"loss": "logit_adjusted", "class_weighting": "balanced"}, "both make up for rare classes"),
        ({"wise": 1.5}, "must be auto, a number from 0"),
        ({"wise": "best"}, "must be auto, a number from 0"),
        ({"compile": "always"}, "must be true, false or auto"),
        ({"augment": {"scale": [1.0, 0.5]}}, "[smaller, larger]"),
        ({"augment": {"scale": [0.5, 2.0]}}, "cannot exceed 1"),
        ({"augment": {"rand_augment": "strong"}}, "rand-m9"),
        ({"augment": {"rand_augment": "randaugment"}}, "rand-m9"),
        ({"augment": {"rand_augment": "rand-m9.5"}}, "rand-m9"),
        ({"augment": {"rand_augment": "rand-mhigh"}}, "rand-m9"),  # which timm would pass over
        ({"augment": {"rand_augment": "v0-m9"}}, "rand-m9"),
        ({"train_size": 128}, "raise image.store_size"),
        ({"test_size": 65}, "raise image.store_size"),
        ({"weights": "weights/vit.safetensors"}, "under data/weights/"),
        ({"weights": "/data/weights/vit.safetensors"}, "under data/weights/"),
        ({"weights": "data/weights/../vit.safetensors"}, "under data/weights/"),
        ({"weights": "data/weights/vit.pth"}, ".safetensors"),
        ({"weights": {"source": "hub", "file": "data/weights/vit.safetensors"}}, "give either"),
        ({"weights": {"source": "file"}}, "give either"),
    ],
)
def test_a_contradiction_is_refused_and_explained(changes: dict[str, Any], words: str) -> None:
    message = refusal(**{f"models__vit__{key}": value for key, value in changes.items()})
    assert words in message
    assert MODEL in message


def test_a_split_leaves_photos_to_train_on() -> None:
    assert "no photo to train on" in refusal(split={"val": 0.5, "test": 0.5})


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "plateau", "plateau_patience": 3, "patience": 5},
        {"schedule": "constant", "patience": 1},
        {"schedule": "cosine", "patience": 3, "epochs": 3},  # a short run has no use for more
        {"weights": "data/weights/a/vit.safetensors"},
        {"weights": {"file": "data/weights/vit.safetensors", "mean": [0.5, 0.5, 0.5]}},
        {"train_size": 64, "test_size": 64},
        {"batch_size": 31},
        {"augment": {"scale": [1.0, 1.0]}},
        {"optimizer": "lbfgs", "trainable": "head", "views": 30},  # which has no epochs to cycle them over
        {"optimizer": "lbfgs", "trainable": ["head"], "rate": 1e-5, "schedule": "constant"},  # shared with others
        {"head_init": "probe", "trainable": "all", "wise": "auto"},
        {"optimizer": "lbfgs", "trainable": "head", "head_init": "probe"},  # the default
        {"optimizer": "lbfgs", "trainable": "head", "loss": "logit_adjusted", "wise": None},
        {"wise": 0},
        {"trainable": ["blocks.5", "norm", "head"]},
    ],
)
def test_what_does_not_contradict_itself_is_accepted(changes: dict[str, Any]) -> None:
    assert model(**changes)


# what is read is what was written


def test_numbers_in_powers_of_ten_are_numbers(tmp_path: Path) -> None:
    """For DVC, which reads YAML 1.2; PyYAML alone reads `1e-4` as text."""
    params = load_params(written(tmp_path, VALID)).models["vit"]
    assert (params.rate, params.weight_decay, params.warmup_epochs) == (1e-4, 5e-2, 2.0)
    assert yaml.safe_load("1e-4") == "1e-4", "else the loader of our own is not needed"


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    text = VALID.replace("    vit", "  vit") + "split: {val: 0.2, test: 0.2}\n"
    with pytest.raises(UserError, match=f"line {len(text.splitlines())}.*'split' appears twice"):
        load_params(written(tmp_path, text))


@pytest.mark.parametrize("text", ["", "[]", "just text", "a: [", "\x00", "a: 2024-13-01", "{[]: 1}"])
def test_a_file_that_holds_no_params_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=re.escape("params.yaml")):
        load_params(written(tmp_path, text))


def test_a_missing_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing; copy one from presets/"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="cannot be read"):
        load_params(tmp_path / "params.yaml")


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    with pytest.raises(UserError):
        load_params(written(tmp_path, f"data: !!python/object/apply:pathlib.Path.touch ['{touched}']"))
    assert not touched.exists()


# shared values


def test_a_models_own_value_wins_over_the_shared_one_also_within_augment() -> None:
    shared = tree(
        training={"train_size": 32, "epochs": 9, "rate": 0.5, "augment": {"mixup": 0.2, "scale": [0.5, 1.0]}},
        models__vit__rate=0.25,
        models__vit__augment={"mixup": 0.4},
        models__other={"architecture": "test_convnext", "weights": "none", "trainable": "head"},
    )
    params = parse_params(copy.deepcopy(shared))
    vit, other = params.models["vit"], params.models["other"]
    assert (vit.rate, vit.epochs, vit.augment.mixup, vit.augment.scale) == (0.25, 9, 0.4, (0.5, 1.0))
    assert (other.rate, other.epochs, other.augment.mixup) == (0.5, 9, 0.2)


def test_the_short_forms_mean_the_long_ones() -> None:
    long = model(architecture={"name": "test_vit"}, weights={"source": "none"})
    assert model(architecture="test_vit", weights="none") == long
    path = "data/weights/vit.safetensors"
    assert model(weights=path) == model(weights={"source": "file", "file": path}) == model(weights={"file": path})
    assert model(weights="hub").weights.source == "hub"


def test_creation_arguments_are_handed_on() -> None:
    assert model(architecture={"name": "test_vit", "img_size": 32}).architecture.arguments == {"img_size": 32}


# what was read does not change


def test_params_are_frozen() -> None:
    params: Params = parse_params(tree())
    for section, key in [(params, "split"), (params.split, "val"), (params.models["vit"], "rate")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 0.5)


def test_parsing_does_not_change_what_was_given() -> None:
    given_tree = tree(training__augment={"mixup": 0.2}, models__vit__augment={"cutmix": 0.1})
    before = copy.deepcopy(given_tree)
    parse_params(given_tree)
    assert given_tree == before


# a stage reads its own section


def test_a_stage_is_not_hindered_by_a_mistake_in_another_section(tmp_path: Path) -> None:
    path = written(tmp_path, VALID.replace("val: 0.1", "vall: 0.1"))
    assert read_section("image", ImageParams, path).store_size == 64
    assert read_model("vit", path).rate == 1e-4
    with pytest.raises(UserError, match=r"unknown key 'split.vall'; did you mean 'val'\?"):
        read_section("split", SplitParams, path)


def test_a_misspelt_section_is_refused_by_every_stage(tmp_path: Path) -> None:
    """Else its values would be left out without a word."""
    path = written(tmp_path, VALID.replace("training:", "trainig:"))
    for read in (lambda: read_section("image", ImageParams, path), lambda: read_model("vit", path)):
        with pytest.raises(UserError, match=r"unknown key 'trainig'; did you mean 'training'\?"):
            read()


def test_what_the_stages_read_is_what_the_whole_check_reads(tmp_path: Path) -> None:
    path = written(tmp_path, VALID)
    params = load_params(path)
    assert params.models == {"vit": read_model("vit", path)}
    assert params.split == read_section("split", SplitParams, path)
    assert params.evaluate == read_section("evaluate", EvaluateParams, path)


def test_deep_nesting_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nested too deeply"):
        load_params(written(tmp_path, "a: " + "[" * 3000 + "]" * 3000))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("trainable", ["all", "head", ["blocks.5", "head"]])
def test_params_can_be_written_as_json(trainable: object) -> None:
    assert model(trainable=trainable).model_dump(mode="json")["trainable"] == trainable
