"""Label files that belong together, one for each split: train/_classes.csv and valid/_classes.csv."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.split_names import split_of_file
from florafauna.labels._words import some
from florafauna.labels.labels import LabelFiles, Labels, NoLabelsError


def sets_of(paths: Iterable[str]) -> list[list[str]]:
    """Files whose paths differ by the word for the split alone, together."""
    together: dict[str, list[str]] = {}
    for path in paths:
        together.setdefault(split_of_file(path)[1], []).append(path)
    return list(together.values())


def one_set(files: LabelFiles, paths: list[str]) -> list[str]:
    """The only set among some files of a format; `UserError` where there are several."""
    sets = sets_of(paths)
    if len(sets) > 1:
        raise UserError(f"{files.origin} has several label files, {named_sets(sets)}; name one in data.labels.")
    return sets[0]


def named_sets(sets: list[list[str]]) -> str:
    """The first file of each set, for messages."""
    return " and ".join(paths[0] for paths in sets)


def join_parts(files: LabelFiles, paths: list[str], read: Callable[[str], Labels]) -> Labels:
    """The rows of the files of a set, which give the split where there are several and they have none themselves.

    A file without labels, as Kaggle's test.csv, is passed over where another has some.
    """
    parts: list[tuple[str, Labels]] = []
    refused: list[NoLabelsError] = []
    for path in paths:
        try:
            parts.append((path, read(path)))
        except NoLabelsError as error:
            refused.append(error)
    if not parts:
        raise refused[0]
    splits = {split_of_file(path)[0] for path, _ in parts}
    by_file = len(splits) > 1 and not any("split" in part.rows.columns for _, part in parts)
    rows = []
    for path, part in parts:
        split = {"split": split_of_file(path)[0]} if by_file else {}
        rows.append(part.rows.assign(_home=files.home(path), **split))
    return replace(
        parts[0][1],
        rows=pd.concat(rows, ignore_index=True).fillna(""),
        ranked=any(part.ranked for _, part in parts),
        notes=tuple(dict.fromkeys(note for _, part in parts for note in part.notes)),
        origin=f"{some([path for path, _ in parts])}: {parts[0][1].origin}",
        split_origin="these files" if by_file else "",
        listed=None if all(part.listed is None for _, part in parts)
        else sum(part.listed or len(part.rows) for _, part in parts),
    )  # fmt: skip
