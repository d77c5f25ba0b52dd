"""Weights of any repository of the hub, which a server on this machine plays, and without a network."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers.hub import COMMIT, hub, make_weights
from helpers.small_disk import small_disk
from safetensors.torch import save

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_bytes
from florafauna.model.network import backbone_state
from florafauna.model.settings import models_of
from florafauna.model.weights import load_initial_weights

TAG = "test_convnext.r160_in1k"
CONFIG = {
    "architecture": "test_convnext",
    "num_classes": 7,
    "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 96, 96], "license": "mit"},
}


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(3)
    return timm.create_model("test_convnext", num_classes=7)


@pytest.fixture(scope="module")
def repositories(model: Any) -> dict[str, dict[str, bytes]]:
    weights, card = save(model.state_dict()), b"---\nlicense: cc-by-nc-4.0\n---\n# Moths\n"
    return {
        f"timm/{TAG}": {"model.safetensors": weights},
        "moths/named": {"model.safetensors": weights, "config.json": json.dumps(CONFIG).encode(), "README.md": card},
        "moths/plain": {"deep/w.safetensors": weights, "deep/w.bin": b""},
        "moths/pickle": {"pytorch_model.bin": b"", "README.md": card},
        "moths/gated": {"model.safetensors": weights},
    }


def of(weights: Any, architecture: str = "test_convnext") -> dict[str, Any]:
    return {"architecture": architecture, "weights": weights}


FETCHED = [
    of("hub", TAG),
    of({"hub": "moths/named"}),
    of({"hub": "moths/plain", "file": "deep/w.safetensors", "revision": COMMIT, "mean": [0, 0, 0], "std": [1, 1, 1]}),
]
REFUSED = {
    "moths/pickle": "has its weights as a pickle only (pytorch_model.bin)",
    "moths/plain": "has no model.safetensors; give one of its safetensors as weights.file: deep/w.safetensors",
    "moths/gated": "only to those who accept its terms; accept them on its page",
    "moths/none": "the hub has no repository moths/none",
}


def test_a_file_is_fetched_at_a_commit_and_then_found_without_a_network(
    tmp_path: Path, repositories: dict[str, dict[str, bytes]], model: Any
) -> None:
    refused = [of({"hub": name}) for name in REFUSED] + [of({"hub": "moths/named", "revision": "f" * 40})]
    with hub(repositories, gated="moths/gated") as endpoint:
        printed, sentences = make_weights(tmp_path, [*FETCHED, *refused], endpoint)
    assert len(sentences) == len(refused)
    for sentence, words in zip(sentences, [*REFUSED.values(), f"no commit {'f' * 40}"], strict=True):
        assert words in sentence
    assert len(list(tmp_path.glob("*.safetensors"))) == len(FETCHED)

    digest = sha256_bytes(repositories["moths/named"]["model.safetensors"])
    for number, (name, repository, licence) in enumerate(
        [(TAG, f"timm/{TAG}", "apache-2.0"), ("model.safetensors", "moths/named", "cc-by-nc-4.0"),
         ("deep/w.safetensors", "moths/plain", None)]
    ):  # fmt: skip
        initial = load_initial_weights(tmp_path / f"{number}.safetensors")
        expected = backbone_state(model)
        assert all(torch.equal(initial.tensors[key], tensor) for key, tensor in expected.items())
        assert initial.tensors.keys() == expected.keys()
        assert initial.origin == {
            "source": "hub", "name": name, "repository": repository, "revision": COMMIT, "sha256": digest,
            "licence": licence, "seen": None,
        }  # fmt: skip
    named = load_initial_weights(tmp_path / "1.safetensors")
    assert named.overlay == {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 96, 96]}
    assert printed[1] == "mean [0.1, 0.2, 0.3] and std [0.4, 0.5, 0.6], as config.json beside the weights says"
    assert printed[0] == printed[2] == ""  # a tag says it, or params.yaml

    before = [(tmp_path / f"{number}.safetensors").read_bytes() for number in range(len(FETCHED))]
    _, sentences = make_weights(tmp_path, [*FETCHED, of("hub", "test_vit.r160_in1k"), of({"hub": "moths/gated"})])
    assert [(tmp_path / f"{number}.safetensors").read_bytes() for number in range(len(FETCHED))] == before
    tagged, other = sentences
    assert "could not be fetched from the hub" in tagged
    assert "put it at data/weights/test_vit.r160_in1k.safetensors" in tagged
    assert "model.safetensors of 'moths/gated' could not be fetched from the hub" in other
    assert "put it at data/weights/gated/model.safetensors and give weights: data/weights/gated" in other
    assert not (tmp_path / "3.safetensors").exists()


def test_a_full_disk_is_not_taken_for_a_network_that_is_down(tmp_path: Path) -> None:
    with (
        hub({"timm/test_vit.r160_in1k": {"model.safetensors": bytes(1 << 20)}}) as endpoint,
        small_disk(tmp_path / "disk", "200k") as disk,
    ):
        _, (sentence,) = make_weights(disk, [of("hub", "test_vit.r160_in1k")], endpoint)
    assert "the disk is full; make room and run the same command again (" in sentence


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"hub": "bioclip-2"}, "hub must be a repository such as imageomics/bioclip-2"),
        ({"hub": "moths/named", "file": "w.bin"}, "must be a .safetensors file of the repository"),
        ({"hub": "moths/named", "file": "../w.safetensors"}, "must be a .safetensors file of the repository"),
        ({"hub": "moths/named", "revision": "main"}, "revision must be a whole commit of 40 hexadecimal digits"),
        ({"hub": "moths/named", "source": "file"}, "hub and revision name what is fetched from the hub"),
        ({"file": "data/weights/w.safetensors", "revision": COMMIT}, "hub and revision name what is fetched"),
        ({"source": "hub", "repo": "moths/named"}, "did you mean 'hub'?"),
        ({"source": "hub", "file": "w.safetensors"}, "give either source: hub, source: none, a file under"),
        ({"source": "file"}, "give either source: hub, source: none, a file under"),
    ],
)
def test_contradictory_weights_are_refused(weights: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        models_of({"models": {"m": of(weights) | {"trainable": "head"}}}, "params.yaml")
    assert words in str(refused.value)
