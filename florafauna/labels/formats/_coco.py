"""COCO Camera Traps JSON, and the COCO JSON of the iNaturalist 2021 competition, whose categories have ranks."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import parse_json
from florafauna.labels._boxes import text_of
from florafauna.labels._parts import join_parts, one_set
from florafauna.labels.labels import LabelFiles, Labels, base_name
from florafauna.labels.tabular import among, value_as_text
from florafauna.labels.taxonomy import RANKS, binomial, set_aside_non_animals

PARTS = ("images", "annotations", "categories")
# what images may carry → the standard name of it
IMAGE = {"location": "location", "seq_id": "sequence", "datetime": "datetime", "date": "datetime",
         "latitude": "latitude", "longitude": "longitude", "rights_holder": "rights_holder"}  # fmt: skip


class Coco:
    """Images, annotations and categories in one JSON file."""

    name = "coco"
    looks_like = "a COCO JSON (images, annotations, categories)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        return not files.is_root and any(map(partial(_is_coco, files), _jsons(files)))

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. Annotations of a whole sequence are weak; images without any have no label."""
        paths = _jsons(files)
        if not paths:
            raise UserError(f"{files.origin} is not a COCO JSON; give the one .json file with the annotations.")
        if len(paths) > 1:
            paths = [path for path in paths if _is_coco(files, path)] or paths
        return join_parts(files, one_set(files, paths), partial(_read, files))


def _read(files: LabelFiles, path: str) -> Labels:
    """The rows of one file."""
    name = files.describe(path)
    document = _document(files.text(path), name)
    images, categories = _images(document, name), _categories(document["categories"], name)
    annotations = _frame(document["annotations"], ("image_id", "category_id", "sequence_level_annotation"))
    for column, known in (("image_id", images["image_id"]), ("category_id", categories["category_id"])):
        unknown = annotations.loc[~among(annotations[column], set(known)), column]
        if not unknown.empty:
            raise UserError(f"{name}: an annotation has {column} '{unknown.iloc[0]}', which is not in the file.")
    boxes = _boxes(document)
    annotations = annotations.assign(**boxes) if boxes else annotations
    annotations["weak"] = annotations.pop("sequence_level_annotation").replace({"true": "event", "false": ""})
    labelled = annotations.merge(categories, on="category_id")
    rows = images.merge(labelled, on="image_id", how="left").fillna("").drop(columns=["image_id", "category_id"])
    ranked = "species" in rows.columns
    rows = rows.assign(_reason="", _detail="") if ranked else set_aside_non_animals(rows)
    corrupt = rows.pop("corrupt") == "true"
    rows["_reason"] = rows["_reason"].mask(corrupt, "corrupt")
    rows["_detail"] = rows["_detail"].mask(corrupt, "the label file marks it as corrupt")
    return Labels(rows, ranked, origin="its categories")


def _boxes(document: dict[str, Any]) -> dict[str, list[str]]:
    """The annotations' boxes, relative where the images say how large they are, and what a detector was sure of."""
    annotations = document["annotations"]
    if not any("bbox" in each or "bbox_relative" in each for each in annotations):
        return {}
    sizes = {value_as_text(image.get("id")): (image.get("width"), image.get("height")) for image in document["images"]}
    texts = []
    for each in annotations:
        if each.get("bbox_relative") is not None:
            texts.append(text_of(each["bbox_relative"]))
        elif each.get("bbox") is not None:
            texts.append(text_of(each["bbox"], sizes.get(value_as_text(each.get("image_id")), (None, None))))
        else:
            texts.append("")
    return {"_box": texts, "_confidence": [value_as_text(each.get("score")) for each in annotations]}


def _jsons(files: LabelFiles) -> list[str]:
    return [path for path in files.names if base_name(path).lower().endswith(".json")]


def _is_coco(files: LabelFiles, path: str) -> bool:
    return all(f'"{part}"'.encode() in files.read(path) for part in PARTS)


def _document(text: str, name: str) -> dict[str, Any]:
    document = parse_json(text, name, "give the one .json file with the annotations", nan=True)
    for part in PARTS:
        entries = document.get(part)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{name} is not a COCO JSON: it has no list of {part}.")
    return document


def _images(document: dict[str, Any], name: str) -> pd.DataFrame:
    """image_id, path, corrupt and what else the images carry."""
    entries = document["images"]
    given = [key for key in (*IMAGE, "license") if any(key in entry for entry in entries)]
    images = _frame(entries, ("id", "file_name", "corrupt", *given))
    if (images["file_name"] == "").any():
        raise UserError(f"{name}: image '{images.loc[images['file_name'] == '', 'id'].iloc[0]}' has no file_name.")
    _refuse_repeated(images["id"], f"{name}: two images")
    if "license" in given:
        listed = document.get("licenses")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        licences = _frame(entries, ("id", "name"))
        names = dict(zip(licences["id"], licences["name"], strict=True))
        images["licence"] = [names.get(value, value) for value in images.pop("license")]
    if "date" in given and "datetime" in given:
        given.remove("date")
        images = images.drop(columns="date")
    return images.rename(columns={**IMAGE, "id": "image_id", "file_name": "path"})


def _categories(entries: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """category_id, label, and the ranks where the categories have them."""
    given = [rank for rank in RANKS if any(rank in entry for entry in entries)]
    categories = _frame(entries, ("id", "name", "specific_epithet", *given))
    _refuse_repeated(categories["id"], f"{name}: two categories")
    epithet = categories.pop("specific_epithet")
    if "genus" in given and "species" not in given:
        categories["species"] = binomial(categories["genus"], epithet)
    return categories.rename(columns={"id": "category_id", "name": "label"})


def category_names(data: bytes) -> dict[str, str]:
    """Number → name of the categories of a JSON, {} where it has none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    entries = document.get("categories") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return {}
    categories = _frame(entries, ("id", "name"))
    return dict(zip(categories["id"], categories["name"], strict=True))


def _refuse_repeated(ids: pd.Series, what: str) -> None:
    repeated = ids[ids.duplicated()]
    if not repeated.empty:
        raise UserError(f"{what} have the id '{repeated.iloc[0]}'.")


def _frame(entries: Sequence[dict[str, Any]], keys: Sequence[str]) -> pd.DataFrame:
    """The values of `keys` as text, "" for null or absent, true and false in JSON's spelling."""
    return pd.DataFrame({key: [value_as_text(entry.get(key)) for entry in entries] for key in keys}, dtype=str)
