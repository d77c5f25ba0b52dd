"""The taxa of each class, from the manifest's rank columns into the test store."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from florafauna.base.taxonomy import ancestors_of
from florafauna.pixels.store import PixelStore
from florafauna.preprocess.preprocess import preprocess

OWL = {"label": "Bubo bubo", "kingdom": "Animalia", "family": "Strigidae", "genus": "Bubo", "species": "Bubo bubo"}
TIT = {"label": "Parus major", "kingdom": "Animalia", "family": "Paridae", "genus": "Parus", "species": "Parus major"}
TAXA = {
    "Bubo bubo": {"kingdom": "Animalia", "family": "Strigidae", "genus": "Bubo"},
    "Parus major": {"kingdom": "Animalia", "family": "Paridae", "genus": "Parus"},
}


def taxa_of(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return ancestors_of(pa.Table.from_pylist(rows))


def test_each_class_has_the_taxa_of_its_photos() -> None:
    assert taxa_of([TIT, OWL, TIT]) == TAXA


def test_ranks_that_are_empty_or_absent_are_left_out() -> None:
    assert taxa_of([OWL | {"family": ""}, TIT]) == TAXA | {"Bubo bubo": {"kingdom": "Animalia", "genus": "Bubo"}}
    assert taxa_of([{"label": "a", "species": "a"}, {"label": "b", "species": "b"}]) == {"a": {}, "b": {}}


def test_a_photo_without_a_rank_does_not_hide_what_the_others_say() -> None:
    assert taxa_of([OWL, OWL | {"genus": ""}, TIT]) == TAXA


def test_a_corrected_label_does_not_take_its_old_taxa_along() -> None:
    corrected = OWL | {"label": "Parus major"}
    assert taxa_of([TIT] * 19 + [corrected, OWL]) == TAXA


def test_a_class_whose_photos_disagree_has_no_taxon_there() -> None:
    rows = [OWL | {"label": "bird"}, TIT | {"label": "bird"}, {**TIT, "label": "fern", "kingdom": "Plantae"}]
    assert taxa_of(rows)["bird"] == {"kingdom": "Animalia"}


def test_the_rank_of_the_labels_and_finer_ones_are_left_out() -> None:
    rows = [each | {"label": each["family"]} for each in (OWL, TIT)]
    assert taxa_of(rows) == {"Paridae": {"kingdom": "Animalia"}, "Strigidae": {"kingdom": "Animalia"}}


def test_a_class_of_a_coarser_rank_keeps_what_it_belongs_to() -> None:
    genus_alone = TIT | {"label": "Parus", "species": ""}
    assert taxa_of([TIT, OWL, genus_alone])["Parus"] == TAXA["Parus major"]


def stores(root: Path, rows: list[dict[str, str]]) -> Path:
    """The stores of three photos of each row, one a split."""
    (root / "photos").mkdir()
    manifest = []
    for target, row in enumerate(sorted(rows, key=lambda each: each["label"])):
        for split in ("train", "val", "test"):
            path = f"{target}{split}.png"
            Image.fromarray(np.full((40, 40, 3), 9 * target, np.uint8)).save(root / "photos" / path)
            facts = {"path": path, "target": target, "split": split, "held_out": "", "group": "", "cluster": ""}
            manifest.append({**row, **facts, "sha256": path, "width": 40, "height": 40})
    pd.DataFrame(manifest).sort_values("path").to_csv(root / "manifest.csv", index=False)
    preprocess(root / "manifest.csv", root / "photos", root / "out", 32, root / "kept", workers=1)
    return root / "out"


def test_the_test_store_knows_the_taxa_in_the_order_of_labels(tmp_path: Path) -> None:
    store = PixelStore(stores(tmp_path, [TIT, OWL]) / "test")
    assert dict(zip(store.labels, store.ancestors, strict=True)) == TAXA


def test_another_taxonomy_changes_no_photo_that_is_trained_on(tmp_path: Path) -> None:
    files = {}
    for name, rows in (("one", [TIT, OWL]), ("other", [TIT | {"family": "Corvidae"}, OWL]), ("none", [])):
        (tmp_path / name).mkdir()
        rows = rows or [{"label": each["label"], "species": each["label"]} for each in (TIT, OWL)]
        out = stores(tmp_path / name, rows)
        files[name] = {split: (out / split / "index.parquet").read_bytes() for split in ("train", "val", "test")}
    for split in ("train", "val"):
        assert files["one"][split] == files["other"][split] == files["none"][split]
    assert files["one"]["test"] != files["other"]["test"]
    assert PixelStore(tmp_path / "none/out/test").ancestors == []
