"""The names that people's tables use for the standard columns."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.split_names import split_of
from florafauna.labels._boxes import box_texts
from florafauna.labels._words import both
from florafauna.labels.labels import Labels, NoLabelsError
from florafauna.labels.tabular import among
from florafauna.labels.taxonomy import NO_ANIMAL, NO_LABEL, RANKS, are_species_names, binomial, with_ranks_of_names
from florafauna.photos.kinds import printable

# The first name is the standard one and wins over the others. Case, blanks, underscores and hyphens do not matter, but
# of several columns the one that is spelt as here wins.
SYNONYMS = {
    "path": ("path", "filepath", "filepaths", "file_path", "relative_path", "image_path", "img_path", "filename",
             "file_name", "image_name", "img_name", "file", "image", "img"),
    "location": ("location", "site", "station", "deployment_id", "location_id", "camera"),
    "sequence": ("sequence", "seq_id", "sequence_id", "eventID", "coreid", "gbifID", "observation_uuid"),
    "observer": ("observer", "user_id", "user_login", "observer_id", "recordedBy"),
    "datetime": ("datetime", "Photo_Time", "timestamp", "eventDate", "time_observed_at", "observed_on",
                 "DateTimeOriginal", "date_captured"),
    "occurrence": ("occurrence", "occurrenceID"),
    "individual": ("individual", "individualID"),
    "latitude": ("latitude", "decimalLatitude", "lat"),
    "longitude": ("longitude", "decimalLongitude", "lon", "lng"),
    "licence": ("licence", "license"),
    "split": ("split", "subset", "partition", "data set"),
    "weak": ("weak",),
    **{rank: (rank,) for rank in RANKS},
}  # fmt: skip
# A path in two columns, its folder and its name
IN_TWO = (("RelativePath", "File"), ("Directory", "FileName"))
# Identifiers by which tables without paths name photos: the photo is named so
IDS = ("image_id", "photo_id", "media_id", "id", "gbifID")
# Photos that share a value there belong together: what is written where there is none, NA or unknown, is no value.
TOGETHER = ("location", "observer", "occurrence", "sequence", "individual")
# Columns of these: where two could be it, neither is taken as such.
UNCLEAR = ("location", "sequence")

# The names of the label, those on one line being names of the same thing; a table with two lines of them is ambiguous.
SCIENTIFIC = ("scientific_name", "sciName")
LABELS = (
    ("label", "labels"),
    ("species", *SCIENTIFIC),
    ("classification",),
    ("category", "category_name"),
    ("class", "class_name"),
    ("choice",),  # Label Studio
    ("breed",),
)
# Only where no other label is there: what a machine says (animl), and what says less than a scientific name.
MACHINES = ("prediction", "predicted_label")
OUR_CONFIDENCE = "confidence_1"  # in the tables of `florafauna predict`
LAST_LABELS = ("common_name", "category_id")
# Of a detector, which says that there is an animal and not which
DETECTED = {"animal", *(name for names in NO_ANIMAL.values() for name in names)}
DETECTORS_NUMBERS = {"1": "animal", "2": "person", "3": "vehicle"}  # MegaDetector's
CATEGORIES = ("detection_category", "category", "detection")
CONFIDENCES = ("confidence", "conf", "detection_conf", "max_detection_conf", "score")
BOXES = ("conf", "max_detection_conf", "bbox", "bbox1", "bbox_x")


def standardise(table: pd.DataFrame, name: str, photos: Sequence[str]) -> Labels:
    """The table under standard column names, with the column `label`; other columns are kept as they are.

    Of several columns of paths the one that names most of the `photos` is taken. A table without a label column, but
    with a column of 0 and 1 for each class, gives a row for each 1. `NoLabelsError`: no paths or no labels;
    `UserError`: it is not clear which.
    """
    path, taken = _path(table, name, photos)
    rest = [column for column in table.columns if column not in (*taken, "path")]
    table = table[rest].assign(path=path)
    renamed, notes = _standard_names(table, name)
    table, more = without_unknown(table, [column for column, standard in renamed.items() if standard in TOGETHER])
    notes += more
    label = _label_column(table, name)
    if label is None:
        return _one_hot(table.rename(columns=renamed), name, notes)
    machine = label in named(MACHINES, rest) or OUR_CONFIDENCE in rest
    labels = table[label]
    if renamed.get(label) == "class":  # the word for label, not the rank
        del renamed[label]
    rows = table if renamed.get(label) in RANKS else table.drop(columns=label)
    rows = rows.rename(columns=renamed).assign(label=labels)
    if machine and "weak" not in rows.columns:
        rows["weak"] = "machine"
    rows, ranked, columns = _with_species(rows, table, label)
    rows = rows.assign(**boxes_of(table))
    return Labels(rows, ranked, notes, origin=columns)


def boxes_of(table: pd.DataFrame) -> dict[str, pd.Series]:
    """`_box`, `_confidence` and `_category` (animal, person, …) of a table with boxes; nothing of another."""
    boxes = box_texts(table)
    if boxes is None:
        return {}
    nothing, present = pd.Series("", index=table.index, dtype=str), list(table.columns)
    confidence = next((table[column] for column in named(CONFIDENCES, present)), nothing)
    words = (table[column].str.lower().replace(DETECTORS_NUMBERS) for column in named(CATEGORIES, present))
    category = next((found.where(found.isin(DETECTED), "") for found in words if found.isin(DETECTED).any()), nothing)
    return {"_box": boxes, "_confidence": confidence, "_category": category}


def standard_paths(table: pd.DataFrame, name: str, photos: Sequence[str]) -> pd.Series:
    """The paths of a table: of several columns of them the one that names most of the `photos`."""
    return _path(table, name, photos)[0]


def _path(table: pd.DataFrame, name: str, photos: Sequence[str]) -> tuple[pd.Series, tuple[str, ...]]:
    """The paths, and the columns that they were taken from."""
    candidates = [(_joined(table, names), names) for names in _path_columns(list(table.columns))]
    if not candidates:
        raise NoLabelsError(
            f"{name} has no path column; name it 'path' (also known: {', '.join(SYNONYMS['path'][1:])}; "
            f"its columns are {printable(', '.join(table.columns))})."
        )
    if len(candidates) == 1:
        return candidates[0]
    files, stems = set(photos), {_stem(path) for path in photos}

    def found(candidate: tuple[pd.Series, tuple[str, ...]]) -> tuple[int, int]:
        stem = pd.Series([_stem(path) for path in candidate[0]], dtype=str)
        return int(among(candidate[0], files).sum()), int(among(stem, stems).sum())

    return max(candidates, key=found)


def has_path(columns: Sequence[str]) -> bool:
    """Whether there is a column of paths among some."""
    return bool(_path_columns(columns))


def _path_columns(present: Sequence[str]) -> list[tuple[str, ...]]:
    if "path" in present:
        return [("path",)]
    in_two = [(*named((folder,), present), *named((file,), present)) for folder, file in IN_TWO]
    return [*(names for names in in_two if len(names) == 2), *((name,) for name in named(SYNONYMS["path"], present))]


def _joined(table: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    if len(names) == 1:
        return table[names[0]]
    folder = table[names[0]].str.replace("\\", "/", regex=False).str.rstrip("/")
    return (folder + "/" + table[names[1]]).str.removeprefix("/")


def _stem(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0].strip().casefold()


def _standard_names(table: pd.DataFrame, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Column → standard name, and notes on those between which nothing decides."""
    names, notes = {}, []
    for standard, synonyms in SYNONYMS.items():
        found = named(synonyms, list(table.columns))
        if standard == "split":
            found = [column for column in found if column == "split" or all(map(split_of, set(table[column])))]
        if standard in UNCLEAR and len(found) > 1 and found[0] != standard:
            notes.append(f"{both(found)} of {name} may be the {standard}; rename the one you mean to '{standard}'")
        elif found:
            names[found[0]] = standard
    return names, tuple(notes)


def without_unknown(table: pd.DataFrame, columns: Iterable[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table with what names no value, NA or unknown, left empty in some columns, and notes on that."""
    notes = []
    for column in columns:
        unknown = among(table[column].str.strip().str.lower(), set(NO_LABEL))
        if unknown.any():
            first = table.loc[unknown, column].iloc[0]
            notes.append(f"{unknown.sum()} values of {column} are none, for example '{first}'; they were left empty")
            table = table.assign(**{column: table[column].mask(unknown, "")})
    return table, tuple(notes)


def _label_column(table: pd.DataFrame, name: str) -> str | None:
    """The column that holds the label, None where there is none; `UserError` where it is not clear which."""
    present = [column for column in table.columns if column != "path"]
    a_rank = any(named((rank,), present) for rank in RANKS if rank != "class")
    groups = [found for names in LABELS if (found := named(names, present)) and not (a_rank and names[0] == "class")]
    if groups and groups[0][0] in named(LABELS[0], present):
        return groups[0][0]
    candidates, machines = [found[0] for found in groups], named(MACHINES, present)[:1]
    if len(candidates) > 1 or machines:
        telling = [column for column in candidates if not _says_no_class(table[column])]
        candidates = telling or machines or candidates
    if len(candidates) > 1:
        raise UserError(f"{name} has {both(candidates)} for the label; rename the one you mean to 'label'.")
    label = next(iter([*candidates, *named(LAST_LABELS, present)]), None)
    if label is not None and _says_no_class(table[label]) and named(BOXES, present):
        raise UserError(
            f"{name}: '{label}' is what a detector found, and no column names the classes; "
            "name the one that does 'label'."
        )
    return label


def _says_no_class(values: pd.Series) -> bool:
    """Whether values are numbers or what a detector says, and no names of classes."""
    return all(value == "" or value.isdecimal() or value.lower() in DETECTED for value in values.unique())


def _with_species(rows: pd.DataFrame, table: pd.DataFrame, label: str) -> tuple[pd.DataFrame, bool, str]:
    """The rows with full species names, whether these are the labels, and the columns that they were taken from.

    Where `species` holds the epithet alone, a scientific name wins over genus and epithet. What a scientific name tells
    by its form is given as ranks, so that a genus is not a class beside its species.
    """
    scientific = next(iter(named(SCIENTIFIC, list(table.columns))), None)
    of_species = label in named(("species", *SCIENTIFIC), list(table.columns))
    full = "species" in rows.columns and are_species_names(rows["species"])
    if scientific is not None and of_species and not full:
        told = with_ranks_of_names(rows.drop(columns="species", errors="ignore"), table[scientific])
        if "species" in told.columns:
            return told.assign(label=table[scientific]), True, f"column {scientific}"
    if not {"genus", "species"} <= set(rows.columns):
        return rows, False, f"column {label}"
    species = binomial(rows["genus"], rows["species"])
    rows = rows.assign(species=species)
    if not of_species:
        return rows, False, f"column {label}"
    name = species.where(species != "", rows["genus"])
    return rows.assign(label=name), True, f"column {label}" if full else f"columns genus and {label}"


def _one_hot(rows: pd.DataFrame, name: str, notes: tuple[str, ...]) -> Labels:
    """A row for each 1 in a table with a column of 0 and 1 for each class; photos without any have no label."""
    known = {*SYNONYMS, *named(IDS, list(rows.columns))}
    classes = [column for column in rows.columns if column not in known]
    marks = rows[classes].apply(lambda column: column.str.strip().replace({"0.0": "0", "1.0": "1"}))
    if len(classes) < 2 or not marks.isin(["0", "1"]).all(axis=None) or not (marks == "1").any(axis=None):
        labels = [synonym for names in (*LABELS, MACHINES, LAST_LABELS) for synonym in names]
        raise NoLabelsError(
            f"{name} has no label column; name it 'label' (also known: {', '.join(labels[1:])}; "
            f"its columns are {printable(', '.join(rows.columns))})."
        )
    row, position = (marks == "1").to_numpy().nonzero()
    marked = pd.Series([classes[number] for number in position], index=rows.index[row], dtype=str)
    rows = rows.drop(columns=classes).join(marked.rename("label")).fillna("")
    return Labels(rows, notes=notes, origin=f"a column of 0 and 1 for each of {len(classes)} classes")


def named(synonyms: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The columns that carry one of the names, those spelt exactly so first, in the order of the names."""
    exact = [name for name in synonyms if name in columns]
    alike = [column for name in synonyms for column in columns if _plain(column) == _plain(name)]
    return list(dict.fromkeys(exact + alike))


def _plain(column: str) -> str:
    return re.sub(r"[\s_-]", "", column).lower()
