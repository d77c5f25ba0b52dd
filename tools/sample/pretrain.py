"""Pretrain the small backbones in data/weights on drawn species that are not in the sample.

python -m tools.sample.pretrain: draws the pictures, then runs the library's own split, preprocess and training as
pretrain.yaml says. Writes data/weights/*.safetensors and data/weights/README.md. On two cores about 15 minutes.
"""

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.torch import save

from florafauna.base.files import sha256_file, write_atomic
from florafauna.base.metrics import weighted_f1
from florafauna.bundle.bundle import load_trained, predict_logits
from florafauna.commands.params import load_params
from florafauna.model.compute import choose
from florafauna.model.network import backbone_state
from florafauna.model.weights import make_initial_weights
from florafauna.pixels.store import PixelStore
from florafauna.preprocess.preprocess import preprocess
from florafauna.split.dataset import prepare
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train
from tools.sample.scene import photograph
from tools.sample.species import Species, others

BUILD = Path("build/pretrain")
OUT = Path("data/weights")
SEED, SPECIES, PHOTOS, SIDES = 7, 48, 50, (144, 220)
README = """# Small pretrained backbones

Written by `python -m tools.sample.pretrain`: {species} drawn species that are not in the sample, {photos} pictures
each, seed {seed}, trained from random weights as `tools/sample/pretrain.yaml` says. They know nothing of real photos.

| file | backbone parameters | test weighted F1 on the species pretrained on (n) | SHA-256 |
|---|---|---|---|
{rows}
"""


def main() -> None:
    """Draw, train, write."""
    params = load_params(Path(__file__).with_name("pretrain.yaml"))
    draw(Path(params.data.root))
    corrections = BUILD / "corrections.csv"
    corrections.write_text("path,label\n", encoding="utf-8")
    dataset = prepare(params.data, params.split, corrections)
    outs = ("manifest.csv", "quarantine.csv", "examples.parquet", "data.json", "places.csv")
    dataset.write(*(BUILD / name for name in outs))
    store = BUILD / "processed"
    preprocess(BUILD / "manifest.csv", Path(params.data.root), store, params.image.store_size, BUILD / "kept")
    rows = []
    for name, model in params.models.items():
        initial = BUILD / f"{name}.safetensors"
        make_initial_weights(model.architecture, model.weights, initial)
        folder = BUILD / "models" / name
        train(TrainingJob(name, model, initial, store / "train", store / "val", BUILD, folder, BUILD / f"{name}.json"))
        trained = load_trained(folder)
        backbone = backbone_state(trained.model)
        write_atomic(OUT / f"{name}.safetensors", save(backbone, {"made_by": "tools.sample.pretrain"}))
        test = PixelStore(store / "test")
        score = weighted_f1(test.targets, predict_logits(trained, test, choose("fp32")).argmax(1))
        count = sum(tensor.numel() for tensor in backbone.values())
        digest = sha256_file(OUT / f"{name}.safetensors")
        rows.append(f"| `{name}.safetensors` | {count:,} | {score:.3f} ({len(test)}) | `{digest[:16]}…` |")
        print(json.dumps({"model": name, "test_weighted_f1": score}), flush=True)
    text = README.format(species=SPECIES, photos=PHOTOS, seed=SEED, rows="\n".join(rows))
    write_atomic(OUT / "README.md", text)


def draw(out: Path) -> None:
    """One folder a species."""
    shutil.rmtree(out, ignore_errors=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_draw_species, others(SPECIES, SEED), [out] * SPECIES))


def _draw_species(species: Species, out: Path) -> None:
    rng = np.random.default_rng([SEED, *species.name.encode()])
    (out / species.name).mkdir(parents=True)
    for number in range(PHOTOS):
        picture = photograph(species, number, 0, SEED, *SIDES)
        picture.save(out / species.name / f"{number:03d}.jpg", quality=int(rng.integers(60, 92)))


if __name__ == "__main__":
    main()
