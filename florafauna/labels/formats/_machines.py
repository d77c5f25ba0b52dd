"""What machines saw: the result files of MegaDetector and of SpeciesNet, as weak labels and as boxes."""

from dataclasses import replace
from typing import Any

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import parse_json
from florafauna.labels._boxes import BOXES, text_of
from florafauna.labels.columns import DETECTORS_NUMBERS
from florafauna.labels.labels import LabelFiles, Labels, base_name
from florafauna.labels.taxonomy import binomial, finest, set_aside_non_animals

SURE = 0.2  # a detection below this confidence is none, as MegaDetector's authors advise
SPECIESNET = ("id", "class", "order", "family", "genus", "species", "common_name")  # parts of a prediction, between ;


class MegaDetector:
    """A JSON of detections, each perhaps with classifications. Animals that nothing classified have no label."""

    name = "megadetector"
    looks_like = "MegaDetector's results (images with detections)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        return not files.is_root and _has(files, b'"detection_categories"')

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. The label is the surest class of the surest detection."""
        document = _document(files, "images", self.name)
        found = _names(document, "detection_categories") or DETECTORS_NUMBERS
        classes = _names(document, "classification_categories")
        entries = [entry for entry in document["images"] if isinstance(entry, dict)]
        rows = pd.DataFrame({"path": [str(entry.get("file") or "") for entry in entries]}, dtype=str)
        rows["label"] = pd.Series([_seen(entry, found, classes) for entry in entries], index=rows.index, dtype=str)
        rows = set_aside_non_animals(rows).assign(weak="machine")
        nameless = rows["label"] == "animal"
        rows["label"] = rows["label"].mask(nameless, "")
        rows["_detail"] = rows["_detail"].mask(nameless, "an animal that was not classified")
        notes = () if classes else ("it classifies nothing: name it in data.boxes, and species in data.labels",)
        return Labels(rows, notes=notes, origin=f"{files.names[0]}: what a machine saw")

    def boxes(self, files: LabelFiles) -> pd.DataFrame:
        """A row a detection, in the order of the file, with BOXES; `label` is its surest class."""
        document = _document(files, "images", self.name)
        info = document.get("info")
        version = str(info.get("format_version", "1.0")) if isinstance(info, dict) else "1.0"
        if not version.startswith("1"):
            raise UserError(f"{files.origin} has MegaDetector's format {version}; 1.0 to 1.6 are read.")
        found = _names(document, "detection_categories") or DETECTORS_NUMBERS
        classes = _names(document, "classification_categories")
        rows = [
            {
                "path": str(entry.get("file") or ""),
                "_category": found.get(str(detection.get("category")), ""),
                "label": _surest_class(detection, classes),
                "frame": str(detection.get("frame_number", "")),
                **_place(image, number, detection),
            }
            for image, entry in enumerate(document["images"])
            for number, detection in enumerate(_detections(entry))
        ]
        return pd.DataFrame(rows, columns=list(BOXES), dtype=str)

    def read_boxes(self, files: LabelFiles) -> Labels:
        """As `read`, with a row for each classified detection besides."""
        photos, boxes = self.read(files, []), self.boxes(files)
        boxes = set_aside_non_animals(boxes[boxes["label"] != ""]).assign(weak="machine")
        boxes = boxes.drop(columns=["frame", "image", "detection"])
        return replace(photos, rows=pd.concat([photos.rows, boxes], ignore_index=True).fillna(""))


class SpeciesNet:
    """A JSON of predictions, each a taxon by its ranks."""

    name = "speciesnet"
    looks_like = "SpeciesNet's results (predictions)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        return not files.is_root and _has(files, b'"predictions"') and _has(files, b'"filepath"')

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. `data.label: label` is the finest rank that was predicted, or the common name."""
        document = _document(files, "predictions", self.name)
        entries = [entry for entry in document["predictions"] if isinstance(entry, dict)]
        taxa = [str(entry.get("prediction") or "").split(";") for entry in entries]
        rows = pd.DataFrame(
            [parts if len(parts) == len(SPECIESNET) else [""] * len(SPECIESNET) for parts in taxa],
            columns=list(SPECIESNET),
            dtype=str,
        ).drop(columns="id")
        rows["path"] = pd.Series([str(entry.get("filepath") or "") for entry in entries], dtype=str)
        rows["species"] = binomial(rows["genus"], rows["species"])
        name = finest(rows)
        rows = set_aside_non_animals(rows.assign(label=name.where(name != "", rows["common_name"]), weak="machine"))
        return Labels(rows, ranked=True, origin=f"{files.names[0]}: what a machine saw")

    def boxes(self, files: LabelFiles) -> pd.DataFrame:
        """A row a detection, in the order of the file, with BOXES; the species is said of the photo alone."""
        entries = _document(files, "predictions", self.name)["predictions"]
        rows = [
            {
                "path": str(entry.get("filepath") or ""),
                "_category": _called(detection),
                "label": "",
                "frame": "",
                **_place(image, number, detection),
            }
            for image, entry in enumerate(entries)
            for number, detection in enumerate(_detections(entry))
        ]
        return pd.DataFrame(rows, columns=list(BOXES), dtype=str)


def _detections(entry: Any) -> list[dict[str, Any]]:
    """What was found in a photo; nothing where the machine failed. What is no detection keeps its number, empty."""
    found = entry.get("detections") if isinstance(entry, dict) and not entry.get("failure") else None
    return [each if isinstance(each, dict) else {} for each in found] if isinstance(found, list) else []


def _place(image: int, number: int, detection: dict[str, Any]) -> dict[str, str]:
    conf = detection.get("conf")
    return {
        "_box": text_of(detection.get("bbox")),
        "_confidence": "" if conf is None else str(conf),
        "image": str(image),
        "detection": str(number),
    }


def _called(detection: dict[str, Any]) -> str:
    """SpeciesNet says human where MegaDetector says person."""
    name = str(detection.get("label") or "")
    return "person" if name == "human" else name or DETECTORS_NUMBERS.get(str(detection.get("category")), "")


def _surest_class(detection: dict[str, Any], classes: dict[str, str]) -> str:
    given = detection.get("classifications")
    pairs = [pair for pair in given if isinstance(pair, list) and len(pair) == 2] if isinstance(given, list) else []
    return classes.get(str(max(pairs, key=lambda pair: _confidence(pair[1]))[0]), "") if pairs else ""


def _seen(entry: dict[str, Any], found: dict[str, str], classes: dict[str, str]) -> str:
    """The class of the surest detection, or what it is; blank where nothing is sure, "" where the machine failed."""
    detections = entry.get("detections")
    if entry.get("failure") or not isinstance(detections, list):
        return ""
    sure = [each for each in detections if isinstance(each, dict) and _confidence(each.get("conf")) >= SURE]
    if not sure:
        return "blank"
    surest = max(sure, key=lambda each: _confidence(each.get("conf")))
    if surest.get("classifications"):
        return _surest_class(surest, classes)
    return found.get(str(surest.get("category")), "")


def _confidence(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 0.0


def _names(document: dict[str, Any], part: str) -> dict[str, str]:
    names = document.get(part)
    return {str(key): str(name) for key, name in names.items()} if isinstance(names, dict) else {}


def _has(files: LabelFiles, words: bytes) -> bool:
    """Whether the files are one JSON with some words in it."""
    path = files.names[0] if len(files.names) == 1 else ""
    return base_name(path).lower().endswith(".json") and words in files.read(path)


def _document(files: LabelFiles, part: str, name: str) -> dict[str, Any]:
    path = files.names[0] if len(files.names) == 1 else None
    if path is None:
        raise UserError(f"{files.origin} is not a result file of {name}; give the one .json file.")
    document = parse_json(files.text(path), files.describe(path), "give the one .json file with the results", nan=True)
    if not isinstance(document.get(part), list):
        raise UserError(f"{files.describe(path)} is not a result file of {name}: it has no list of {part}.")
    return document
