"""Darwin Core Archive: meta.xml says which files there are, how they are delimited and what each column means.

Spec: https://dwc.tdwg.org/text/. GBIF downloads are such archives (occurrence.txt, multimedia.txt).
"""

import codecs
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.parsers import expat

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._matching import locate
from florafauna.labels.formats._inaturalist import PHOTO_ID
from florafauna.labels.labels import LabelFiles, Labels, decode
from florafauna.labels.tabular import parse
from florafauna.labels.taxonomy import RANKS, binomial

NAMESPACE = "{http://rs.tdwg.org/dwc/text/}"
LARGEST_META = 1 << 20  # bytes; the largest seen in GBIF downloads has 60 kB
KINDS = ("Occurrence", "Event", "Multimedia")
ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r"}

# Darwin Core term → the table's column
NAMES = {"recordedBy": "observer", "eventID": "sequence", "eventDate": "datetime", "decimalLatitude": "latitude",
         "decimalLongitude": "longitude", "locationID": "location", "organismID": "individual"}  # fmt: skip
SPECIES_OR_BELOW = ("species", "subspecies", "variety", "form", "infraspecificname")


@dataclass(frozen=True)
class DataFile:
    """One `core` or `extension` of meta.xml."""

    kind: str  # the last part of rowType: Occurrence, Event, Multimedia
    location: str
    delimiter: str
    quote: str | None
    header_lines: int
    key: int  # the column of the id or coreid
    columns: dict[str, int]  # term → index
    constants: dict[str, str]  # term → the value of every row


class DarwinCore:
    """An archive whose core is Occurrence, or Event with an Occurrence extension."""

    name = "darwin-core"
    looks_like = "a Darwin Core Archive (meta.xml)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        return files.find("meta.xml") is not None

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. Occurrences of an Event core label all media of the event (weak)."""
        meta = files.find("meta.xml")
        if meta is None:
            raise UserError(f"{files.origin} is not a Darwin Core Archive: it has no meta.xml.")
        described = files.describe(meta)
        core, extensions = _meta(files.read(meta), described)
        described_files = {file.kind: file for file in reversed([core, *extensions])}  # GBIF has a second Occurrence
        tables = {kind: _table(files, meta, described_files[kind]) for kind in KINDS if kind in described_files}
        if "Occurrence" not in tables:
            raise UserError(f"{described} describes no occurrences; its core is {core.kind}.")
        occurrences = tables["Occurrence"]
        if core.kind == "Event":
            event = tables["Event"]
            added = ["id", *(name for name in event.columns if name not in occurrences.columns)]
            occurrences = occurrences.merge(event[added].drop_duplicates("id"), on="id", how="left").fillna("")
        media = _still_images(tables["Multimedia"]) if "Multimedia" in tables else _associated(occurrences)
        rows = media.merge(occurrences, on="id", suffixes=("", "_record"))
        listed = len(rows)
        rows, notes = locate(rows, photos, urls=["url"], ids=_identifiers(rows))
        return Labels(_standardised(rows, core.kind == "Event"), ranked=True, notes=notes, listed=listed)


def _meta(data: bytes, name: str) -> tuple[DataFile, list[DataFile]]:
    """The core and the extensions that meta.xml describes."""
    root = _parse_xml(data, name)
    core = root.find(f"{NAMESPACE}core")
    if core is None:
        raise UserError(f"{name} is not a Darwin Core meta.xml: it describes no core.")
    return _data_file(core, "id", name), [
        _data_file(node, "coreid", name) for node in root.iter(f"{NAMESPACE}extension")
    ]


def _parse_xml(data: bytes, name: str) -> ElementTree.Element:
    """XML without a document type: no entities that could expand without end or read other files."""

    def refuse(*_: object) -> None:
        raise UserError(f"{name} has a document type declaration, which a meta.xml never needs; refused.")

    if len(data) > LARGEST_META:
        raise UserError(f"{name} has {len(data)} bytes; a meta.xml has a few thousand.")
    try:
        guard = expat.ParserCreate()
        guard.StartDoctypeDeclHandler = refuse
        guard.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"{name} is not XML: {error}.") from None


def _data_file(node: ElementTree.Element, key: str, name: str) -> DataFile:
    locations = [location.text or "" for location in node.iter(f"{NAMESPACE}location")]
    if len(locations) != 1 or "://" in locations[0]:
        raise UserError(f"{name} must name one file for each core and extension, not {locations}.")
    encoding = node.get("encoding", "UTF-8")
    try:
        utf8 = codecs.lookup(encoding).name in ("utf-8", "ascii")
    except LookupError:
        utf8 = False
    if not utf8:
        raise UserError(f"{name} says that {locations[0]} is {encoding}; save the archive as UTF-8.")
    delimiter = _unescaped(node.get("fieldsTerminatedBy", ","))
    quote = _unescaped(node.get("fieldsEnclosedBy", '"'))
    if len(delimiter) != 1 or len(quote) > 1:
        raise UserError(f"{name}: the fields of {locations[0]} are not delimited by one character each.")
    columns: dict[str, int] = {}
    constants: dict[str, str] = {}
    for field in node.iter(f"{NAMESPACE}field"):
        term = field.get("term", "").rpartition("/")[2]
        if field.get("index") is not None:
            columns[term] = _number(field.get("index"), name)
        else:
            constants[term] = field.get("default", "")
    identifier = node.find(f"{NAMESPACE}{key}")
    if identifier is None:
        raise UserError(f"{name}: {locations[0]} has no {key}, so its rows cannot be joined.")
    kind = node.get("rowType", "").replace("#", "/").rpartition("/")[2]
    header_lines = _number(node.get("ignoreHeaderLines", "0") or "0", name)
    index = _number(identifier.get("index"), name)
    return DataFile(kind, locations[0].strip(), delimiter, quote or None, header_lines, index, columns, constants)


def _unescaped(text: str) -> str:
    return ESCAPES.get(text, text)


def _number(text: str | None, name: str) -> int:
    if text is None or not text.isdecimal():
        raise UserError(f"{name} has '{text}' where an index is needed.")
    return int(text)


def _table(files: LabelFiles, meta: str, file: DataFile) -> pd.DataFrame:
    """A data file with a column a term, and `id`, the key that joins it to the core."""
    path = files.beside(meta, file.location)
    if path is None:
        raise UserError(f"{files.describe(meta)} names {file.location}, which is not there.")
    name, data = files.describe(path), files.read(path)
    decode(data, name)
    table = parse(data, name, file.delimiter, file.quote, file.header_lines)
    last = max([file.key, *file.columns.values()])
    if last >= table.shape[1]:
        raise UserError(f"{name} has {table.shape[1]} columns, but {files.describe(meta)} describes column {last}.")
    terms = {term: table.iloc[:, index] for term, index in file.columns.items() if term != "id"}
    return pd.DataFrame({"id": table.iloc[:, file.key], **terms}).assign(**file.constants)


def _still_images(media: pd.DataFrame) -> pd.DataFrame:
    """id, url and licence of the photos among the media, not of sounds and films."""
    photo = pd.Series(True, index=media.index)
    if "format" in media.columns:
        photo &= (media["format"] == "") | media["format"].str.lower().str.startswith("image")
    if "type" in media.columns:
        photo &= media["type"].str.replace(r"^.*/", "", regex=True).isin(["", "StillImage", "Image"])
    url = next((media[term] for term in ("accessURI", "identifier") if term in media.columns), None)
    licence = next((media[term] for term in ("license", "rights") if term in media.columns), None)
    columns = {"id": media["id"], "url": url, "licence": licence}
    return pd.DataFrame({name: column for name, column in columns.items() if column is not None})[photo]


def _associated(occurrences: pd.DataFrame) -> pd.DataFrame:
    """id and url of the media that occurrences themselves name, divided by bars; without any, a row an occurrence."""
    if "associatedMedia" not in occurrences.columns:
        return occurrences[["id"]].assign(url="")
    urls = occurrences["associatedMedia"].str.split(r"\s*\|\s*", regex=True)
    return pd.DataFrame({"id": occurrences["id"], "url": urls}).explode("url")


def _identifiers(rows: pd.DataFrame) -> list[str]:
    """Adds `photo`, the number of a photo on iNaturalist, and names the columns of identifiers in the order to try."""
    if "url" not in rows.columns:
        rows["url"] = ""
    rows["photo"] = rows["url"].str.extract(PHOTO_ID)[0].fillna("")
    return [name for name in ("photo", "id", "catalogNumber", "occurrenceID") if name in rows.columns]


def _standardised(rows: pd.DataFrame, of_event: bool) -> pd.DataFrame:
    """The rows under the table's column names."""
    rows = rows.rename(columns=NAMES).assign(occurrence=rows["id"], label=_text(rows, "scientificName"))
    rows["species"] = _species(rows)
    if "licence" not in rows.columns:
        rows["licence"] = _text(rows, "license")
    if of_event:
        rows["weak"], rows["sequence"] = "event", rows["id"]
    absent = _text(rows, "occurrenceStatus").str.lower() == "absent"
    rows["_reason"] = pd.Series("no_label", index=rows.index, dtype=str).where(absent, "")
    rows["_detail"] = pd.Series("recorded as absent", index=rows.index, dtype=str).where(absent, "")
    kept = ["path", "label", "occurrence", *NAMES.values(), *RANKS, "licence", "weak", "basisOfRecord"]
    kept += ["_reason", "_detail"]
    return rows[[name for name in kept if name in rows.columns]]


def _species(rows: pd.DataFrame) -> pd.Series:
    """The species without its author: as given (GBIF), of genus and epithet, or of a scientific name of that rank."""
    species = binomial(_text(rows, "genus"), _text(rows, "species"))
    species = species.where(species != "", binomial(_text(rows, "genus"), _text(rows, "specificEpithet")))
    name = _text(rows, "scientificName").str.extract(r"^(\w+ [^\W\d_A-Z][\w-]+)")[0].fillna("")
    of_rank = _text(rows, "taxonRank").str.lower().isin(SPECIES_OR_BELOW)
    return species.where((species != "") | ~of_rank, name)


def _text(rows: pd.DataFrame, term: str) -> pd.Series:
    return rows[term] if term in rows.columns else pd.Series("", index=rows.index, dtype=str)
