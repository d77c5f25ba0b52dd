"""Camtrap DP 1.0 (Bubnicki et al. 2023): a data package of deployments, media and observations of camera traps."""

from typing import Any

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import parse_json
from florafauna.labels._boxes import box_texts
from florafauna.labels._matching import locate
from florafauna.labels.labels import LabelFiles, Labels
from florafauna.labels.tabular import read_table
from florafauna.labels.taxonomy import RANKS, set_aside_non_animals, with_ranks_of_names
from florafauna.photos.archives import inner_path

DEPLOYMENTS = ("deploymentID", "latitude", "longitude")
MEDIA = ("mediaID", "deploymentID", "timestamp", "filePath", "fileMediatype")
OBSERVATIONS = ("deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel", "observationType",
                "scientificName")  # fmt: skip
BBOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


class CamtrapDP:
    """datapackage.json and the tables that it names."""

    name = "camtrap-dp"
    looks_like = "a Camtrap DP (datapackage.json)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        path = files.find("datapackage.json")
        return path is not None and b"camtrap-dp" in files.read(path)

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`.

        An observation of an event labels all media of its deployment within its time (weak); that of a machine is weak,
        too. `location` is the place of the deployment, `sequence` the event.
        """
        path = files.find("datapackage.json")
        if path is None:
            raise UserError(f"{files.origin} is not a Camtrap DP: it has no datapackage.json.")
        package = _package(files.text(path), files.describe(path))
        media = _resource(files, path, package, "media", MEDIA)
        observations = _resource(files, path, package, "observations", OBSERVATIONS)
        deployments = _resource(files, path, package, "deployments", DEPLOYMENTS)
        rows = media.merge(_observed(media, observations), on="mediaID", how="left").fillna("")
        rows, notes = _with_paths(rows, photos)
        rows = rows.merge(_places(deployments), on="deploymentID", how="left").fillna("")
        rows = _labelled(rows)
        boxes = box_texts(rows, BBOX)
        if boxes is not None:
            rows = rows.assign(_box=boxes, _category=rows["observationType"])
        video = ~rows["fileMediatype"].str.startswith("image/")
        rows["_reason"] = rows["_reason"].mask(video, "not_a_photo")
        rows["_detail"] = rows["_detail"].mask(video, "its media type is " + rows["fileMediatype"])
        rows = rows.merge(_taxa(package, rows.loc[rows["_reason"] == "", "label"]), on="label", how="left").fillna("")
        names = {"timestamp": "datetime", "eventID": "sequence", "individualID": "individual",
                 "classificationProbability": "_confidence"}  # fmt: skip
        kept = ["path", "label", "location", "latitude", "longitude", "weak", "_reason", "_detail", "_box", "_category",
                *names, *RANKS]  # fmt: skip
        rows = rows[[name for name in kept if name in rows.columns]].rename(columns=names)
        return Labels(rows, ranked="species" in rows.columns, notes=notes)


def _package(text: str, name: str) -> dict[str, Any]:
    package = parse_json(text, name, "export it again")
    profile = str(package.get("profile", ""))
    if "camtrap-dp/0." in profile:
        raise UserError(f"{name} follows {profile}, an early draft of Camtrap DP; export it again as version 1.0.")
    if not isinstance(package.get("resources"), list):
        raise UserError(f"{name} is not a data package: it has no list of resources.")
    return package


def _resource(
    files: LabelFiles, package_path: str, package: dict[str, Any], name: str, required: tuple[str, ...]
) -> pd.DataFrame:
    """A table of the package; `UserError` where it or one of its columns is missing, remote or outside the package."""
    described = files.describe(package_path)
    resources = [entry for entry in package["resources"] if isinstance(entry, dict) and entry.get("name") == name]
    path = resources[0].get("path") if resources else None
    path = path[0] if isinstance(path, list) and len(path) == 1 else path
    if not isinstance(path, str) or "://" in path:
        raise UserError(f"{described} names no file for {name}; a package with all of its tables is needed.")
    if inner_path(path) is None:
        raise UserError(f"{described}: the path '{path}' of {name} points outside the package.")
    file = files.beside(package_path, path)
    if file is None:
        raise UserError(f"{described} names {path} for {name}, which is not there.")
    table = read_table(files, file)
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise UserError(f"{files.describe(file)} has no column {missing[0]}, which Camtrap DP 1.0 requires.")
    return table


def _observed(media: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    """Observations with the mediaID that they label; `weak` says which were given to an event or by a machine."""
    observations = observations.drop(columns=["deploymentID", "timestamp"], errors="ignore").assign(
        deployment=observations["deploymentID"], weak=""
    )
    if "classificationMethod" in observations.columns:
        machine = observations["classificationMethod"] == "machine"
        observations["weak"] = observations["weak"].mask(machine, "machine")
    of_event = (observations["observationLevel"] == "event") | (observations["mediaID"] == "")
    events = _media_of_events(media, observations[of_event].assign(weak="event"))
    # a photo that has an observation of its own still belongs to the event
    return pd.concat([observations[~of_event], events], ignore_index=True).drop(columns="deployment")


def _media_of_events(media: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """A row for each event and each medium of its deployment with eventStart ≤ timestamp ≤ eventEnd.

    An event without an end is a moment: its label is not that of all later media.
    """
    moments = (
        pd.DataFrame(
            {"deployment": media["deploymentID"], "mediaID": media["mediaID"], "time": _time(media["timestamp"])}
        )
        .dropna()
        .sort_values(["deployment", "time", "mediaID"], ignore_index=True)
    )
    pieces = [events.iloc[:0]]
    for deployment, group in events.groupby("deployment", sort=True):
        there = moments[moments["deployment"] == deployment]
        start, end = _time(group["eventStart"]), _time(group["eventEnd"])
        first = there["time"].searchsorted(start, "left")
        last = there["time"].searchsorted(end.fillna(start), "right")
        counts = np.maximum(last - first, 0)
        picked = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        pieces.append(group.loc[group.index.repeat(counts)].assign(mediaID=there["mediaID"].to_numpy()[picked]))
    return pd.concat(pieces, ignore_index=True)


def _time(texts: pd.Series) -> pd.Series:
    return pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")


def _with_paths(rows: pd.DataFrame, photos: list[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows with the path of their photo. Media on a server are matched by URL, mediaID or fileName."""
    remote = rows["filePath"].str.contains("://", regex=False)
    if not remote.any():
        return rows.assign(path=rows["filePath"]), ()
    there = rows.assign(path=rows["filePath"])[~remote]
    urls = [name for name in ("filePath", "fileName") if name in rows.columns]
    found, notes = locate(rows[remote].reset_index(drop=True), photos, urls, ids=["mediaID"])
    return pd.concat([there, found], ignore_index=True), notes


def _places(deployments: pd.DataFrame) -> pd.DataFrame:
    """deploymentID, location, latitude and longitude; the deployment is the place where none is named."""
    location = pd.Series("", index=deployments.index, dtype=str)
    for column in ("locationID", "locationName", "deploymentID"):
        if column in deployments.columns:
            location = location.where(location != "", deployments[column])
    return deployments[list(DEPLOYMENTS)].assign(location=location).drop_duplicates("deploymentID")


def _labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The scientific name of animals; what observationType calls human, vehicle or blank is set aside."""
    animal = rows["observationType"] == "animal"
    rows = set_aside_non_animals(rows.assign(label=rows["scientificName"].where(animal, rows["observationType"])))
    nameless = animal & (rows["label"] == "")
    return rows.assign(_detail=rows["_detail"].mask(nameless, "an animal without a scientific name"))


def _taxa(package: dict[str, Any], used: pd.Series) -> pd.DataFrame:
    """label and the ranks that the package states for its scientific names; other names of two words are species.

    Where it states none at all, those that the names tell by their form.
    """
    entries = [taxon for taxon in package.get("taxonomic") or [] if isinstance(taxon, dict)]
    listed = {taxon.get("scientificName") for taxon in entries}
    if not entries:
        names = used.drop_duplicates().reset_index(drop=True)
        return with_ranks_of_names(pd.DataFrame({"label": names}), names)
    entries += [{"scientificName": name, "taxonRank": "species"} for name in sorted(set(used) - listed) if " " in name]
    taxa = pd.DataFrame({"label": [str(taxon.get("scientificName") or "") for taxon in entries]}, dtype=str)
    for rank in RANKS:
        if any(taxon.get(rank) or taxon.get("taxonRank") == rank for taxon in entries):
            taxa[rank] = [_rank(taxon, rank) for taxon in entries]
    return taxa.drop_duplicates("label")


def _rank(taxon: dict[str, Any], rank: str) -> str:
    own = str(taxon.get("scientificName") or "") if taxon.get("taxonRank") == rank else ""
    return own or str(taxon.get(rank) or "")
