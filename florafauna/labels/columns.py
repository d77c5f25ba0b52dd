"""The names that people's tables use for the standard columns."""

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels.taxonomy import RANKS

# The first name is the standard one and wins over the others. Names are matched exactly, then without regard to case.
SYNONYMS = {
    "path": ("path", "filepath", "filename", "file_name", "image_path", "filePath", "image"),
    "location": ("location", "Location", "site", "station", "deployment_id", "deploymentID", "location_id", "camera"),
    "sequence": ("sequence", "seq_id", "sequence_id", "eventID", "coreid", "gbifID", "observation_uuid"),
    "observer": ("observer", "user_id", "user_login", "observer_id", "recordedBy"),
    "datetime": ("datetime", "Photo_Time", "timestamp", "eventDate", "time_observed_at", "observed_on"),
    "occurrence": ("occurrence", "occurrenceID", "occurrence_id"),
    "individual": ("individual", "individualID", "individual_id"),
    "latitude": ("latitude", "decimalLatitude", "lat"),
    "longitude": ("longitude", "decimalLongitude", "lon", "lng"),
    "licence": ("licence", "license"),
    "split": ("split",),
    "weak": ("weak",),
    **{rank: (rank,) for rank in RANKS},
}
# Columns whose choice decides what is trained on or held together: two candidates are a question to the user.
DECISIVE = ("path", "location", "sequence")

# The names of the label, those on one line being names of the same thing; a table with two lines of them is ambiguous.
LABELS = (
    ("label",),
    ("category",),
    ("classification",),
    ("species", "scientific_name", "scientificName"),
)
# Only where no other label is there: beside a scientific name it says less, and beside other ranks class is a rank.
LAST_LABELS = ("common_name", "class")


def standardise(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table under standard column names, with the column `label`; other columns are kept as they are.

    `UserError`: no path or no label column, or two columns that could be it.
    """
    if "path" not in table.columns and {"RelativePath", "File"} <= set(table.columns):
        folder = table["RelativePath"].str.replace("\\", "/", regex=False).str.strip("/")
        table = table.assign(path=(folder + "/" + table["File"]).str.removeprefix("/"))
    present = list(table.columns)
    names: dict[str, str] = {}
    for standard, synonyms in SYNONYMS.items():
        candidates = _present(synonyms, present)
        if len(candidates) > 1 and candidates[0] != standard and standard in DECISIVE:
            raise UserError(
                f"{name} has {_both(candidates)} for the {standard}; rename the one you mean to '{standard}'."
            )
        if candidates:
            names[candidates[0]] = standard
    if "path" not in names.values():
        raise UserError(f"{name} has no path column; name it 'path' (also known: {', '.join(SYNONYMS['path'][1:])}).")
    label = label_column(present, name)
    labels = table[label]
    if names.get(label) == "class":  # the word for label, not the rank
        del names[label]
    if names.get(label) not in RANKS:
        table = table.drop(columns=label)
    return table.rename(columns=names).assign(label=labels)


def label_column(present: list[str], name: str) -> str:
    """The column that holds the label; `UserError` where there is none or it is not clear which."""
    groups = [found for synonyms in LABELS if (found := _present(synonyms, present))]
    if groups and groups[0][0].lower() != "label" and len(groups) > 1:
        raise UserError(
            f"{name} has {_both([group[0] for group in groups])} for the label; rename the one you mean to 'label'."
        )
    found = groups[0] if groups else _present(LAST_LABELS, present)
    if not found:
        known = [synonym for group in LABELS for synonym in group] + list(LAST_LABELS)
        raise UserError(f"{name} has no label column; name it 'label' (also known: {', '.join(known[1:])}).")
    return found[0]


def _present(synonyms: tuple[str, ...], columns: list[str]) -> list[str]:
    """The columns that carry one of the names, those spelt exactly so first, in the order of the names."""
    exact = [name for name in synonyms if name in columns]
    lower = [column for name in synonyms for column in columns if column.lower() == name.lower()]
    return list(dict.fromkeys(exact + lower))


def _both(columns: list[str]) -> str:
    return " and ".join(f"'{column}'" for column in columns)
