"""MODEL_CARD.md: bundle.json for people, in the sections of a Hugging Face model card (Mitchell et al. 2019)."""

import re
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from florafauna.scores.calibration import at_bound
from florafauna.scores.score import AT_BOUND, is_off

SCORES = {
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
}
PARTS = {"test": "test photos", "held_out": "second test set", "val": "validation photos"}
FEW = 10  # test photos of a class; with fewer, its scores say little
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.-]*")  # of a licence, as written on the hub


def model_card(info: dict[str, Any]) -> str:
    """The card as Markdown with YAML front matter; equal bundles give equal bytes."""
    environment = Environment(
        loader=PackageLoader("florafauna.evaluate.card", "."),
        autoescape=False,  # Markdown; labels pass through `cell`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "figure": lambda value: f"{value:.3f}"}
    per_class = info["scores"]["per_class"]["test"]
    return environment.get_template("MODEL_CARD.md.j2").render(
        info=info,
        front=yaml.safe_dump(_front(info), sort_keys=False, allow_unicode=True, width=120).strip(),
        names=SCORES,
        parts={part: name for part, name in PARTS.items() if part in info["scores"]},
        per_class=per_class,
        few=[label for label, row in per_class.items() if row["n"] < FEW],
        few_are=FEW,
        seen=_seen(info["weights"]),
        trained=_trained(info["params"]),
        how=_how(info["params"]),
        origin=_origin(info["weights"]),
        off={label: row for label, row in info["scores"]["per_class"]["calibration"].items() if is_off(row)},
        at_bound=AT_BOUND if at_bound(info["calibration"]["temperature"]) else None,
    )


def _front(info: dict[str, Any]) -> dict[str, Any]:
    """Metadata that the hub reads: https://huggingface.co/docs/hub/model-cards#model-card-metadata."""
    test = info["scores"]["test"]
    metrics = [
        {"type": kind, "name": SCORES[name], "value": test[name]}
        for kind, name in (("f1", "weighted_f1"), ("f1", "macro_f1"), ("accuracy", "accuracy"))
    ]
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": "image-folder", "name": f"{test['n']} test photos", "split": "test"},
        "metrics": metrics,
    }
    return {
        **_licence(info["weights"].get("licence")),
        **({"base_model": info["weights"]["repository"]} if "repository" in info["weights"] else {}),
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "timm", "florafauna", "biology"],
        "metrics": ["f1", "accuracy"],
        "model-index": [{"name": info["name"], "results": [result]}],
    }


def _licence(licence: str | None) -> dict[str, str]:
    """The licence of the initial weights; one without an identifier on the hub is named in words."""
    if not licence:
        return {"license": "unknown"}
    if IDENTIFIER.fullmatch(licence.lower()) and not licence.lower().endswith("-license"):  # as dinov3-license
        return {"license": licence.lower()}
    return {"license": "other", "license_name": licence}


def _seen(weights: dict[str, Any]) -> str:
    """Whether the initial weights may have seen the test photos."""
    if weights["source"] == "none":
        return "Training started from random weights, so the test photos were new to the model."
    if weights.get("seen"):
        return (
            f"**Warning:** training started from weights pretrained on {weights['seen']}. If test photos are among "
            "these, they were not new to the model, and the scores below are too good."
        )
    return (
        "**Warning:** training started from pretrained weights, and it is not stated which photos they were trained on "
        "(`weights.seen` in params.yaml). If test photos are among these, as photos of public collections may be, the "
        "scores below are too good."
    )


def _trained(params: dict[str, Any]) -> str:
    """Which layers were trained."""
    trainable = params["trainable"]
    if trainable == "all":
        return "all layers"
    trained = ["the classifier"] if trainable == "head" else list(trainable)
    if params["norms"] == "all":
        trained.append("all normalisation layers")
    elif trainable == "head":
        return "the classifier alone"
    *first, last = trained
    return f"{', '.join(first)} and {last}" if first else str(last)


def _how(params: dict[str, Any]) -> str:
    """What the optimizer was told."""
    if params["optimizer"] == "lbfgs":
        return "solved for by L-BFGS"
    return f"with {params['optimizer']} at a learning rate of {params['rate']} for up to {params['epochs']} epochs"


def _origin(weights: dict[str, Any]) -> str:
    """Where the initial weights come from."""
    if weights["source"] == "none":
        return "random weights"
    name = weights.get("name", "weights")
    if weights["source"] != "hub":
        return f"{name} (a file)"
    if "repository" not in weights:
        return f"{name} of timm's hub"
    return f"{name} of https://huggingface.co/{weights['repository']}, commit {weights['revision']}"


def _cell(text: str) -> str:
    """Text that cannot end a table cell, start a line, or be read as markup."""
    text = " ".join(text.split())
    return re.sub(r"([\\|`*_\[\]<>#~])", r"\\\1", text)
