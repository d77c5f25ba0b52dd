"""Rows that name a remote photo (a URL, an identifier) → the downloaded file below the root.

People save such photos under the end of their URL, or under an identifier: as the name of the file or of its folder,
or as its beginning where a record has several (1234_2.jpg). The one rule that finds the most files is used for all, so
that an observation's number is never taken for a photo's in some rows.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from florafauna.labels.tabular import among

DEEPEST = 8  # parts of a path that are compared


def locate(
    rows: pd.DataFrame, photos: Sequence[str], urls: Sequence[str] = (), ids: Sequence[str] = ()
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows whose photo is there, with its `path`, and notes on how they were matched and how many were not.

    `urls` are columns of URLs or paths whose end is that of the photo's path, `ids` columns of identifiers, in the
    order in which they are tried. A row is repeated for each of its files. The end of a URL that fits several photos,
    or that several URLs share, fits none.
    """
    files = pd.DataFrame({"path": list(photos)}, dtype=str)
    best, rule = pd.DataFrame({"row": [], "path": []}), ""
    for described, pairs in _rules(rows, files, urls, ids):
        if pairs["path"].nunique() > best["path"].nunique():
            best, rule = pairs, described
        if best["path"].nunique() == len(files):
            break
    found = rows.loc[best["row"].astype(int)].assign(path=best["path"].astype(str).to_numpy())
    without = len(rows) - best["row"].nunique()
    notes = [f"photos were matched to their rows by {rule}"] if rule else []
    if without:
        notes.append(f"{without} of {len(rows)} rows have no photo below the root")
    return found.reset_index(drop=True), tuple(notes)


def _rules(
    rows: pd.DataFrame, files: pd.DataFrame, urls: Sequence[str], ids: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each way to match, with the pairs of row and path that it gives."""
    if files.empty:
        return
    bare = _without_extension(files["path"])
    deepest = min(DEEPEST, 1 + bare.str.count("/").max())
    for column in urls:
        ends = _without_extension(rows[column].str.replace(r"^[a-z0-9+]+://[^/]+/|[?#].*$", "", regex=True))
        for depth in range(deepest, 0, -1):
            yield f"the end of {column}", _pairs_by_end(ends, bare, files["path"], depth)
    name = bare.str.rpartition("/")[2]
    forms = {
        "file name": _of_one(name, files["path"]),
        "folder name": bare.str.rpartition("/")[0].str.rpartition("/")[2],
        "beginning of the file name": name.str.extract(r"^(.+)[_. -][^_. -]+$")[0].fillna(""),
    }
    for column in ids:
        for described, keys in forms.items():
            yield f"{column} as the {described}", _pairs(rows[column], keys, files["path"])


def _without_extension(paths: pd.Series) -> pd.Series:
    """Tools that download rename .jpeg to .jpg."""
    return paths.str.replace(r"\.[A-Za-z0-9]{2,5}$", "", regex=True)


def _pairs_by_end(ends: pd.Series, bare: pd.Series, paths: pd.Series, depth: int) -> pd.DataFrame:
    """The pairs whose last `depth` parts agree, where these stand for one URL and one photo."""
    file_keys, row_keys = _tail(bare, depth), _tail(ends, depth)
    row_keys = row_keys.where(among(row_keys, set(file_keys)), "")
    return _pairs(_of_one(row_keys, ends), _of_one(file_keys, paths), paths)


def _tail(paths: pd.Series, depth: int) -> pd.Series:
    """The last `depth` parts of paths, "" for paths that have fewer."""
    parts = [path.rsplit("/", depth) for path in paths.to_numpy(object)]
    return pd.Series(
        ["/".join(some[-depth:]) if len(some) >= depth else "" for some in parts], index=paths.index, dtype=str
    )


def _of_one(keys: pd.Series, values: pd.Series) -> pd.Series:
    """The keys, but "" for those that stand for several values."""
    pairs = pd.DataFrame({"key": keys, "value": values}).drop_duplicates()
    several = set(pairs.loc[pairs["key"].duplicated(), "key"])
    return keys.mask(among(keys, several), "")


def _pairs(row_keys: pd.Series, file_keys: pd.Series, paths: pd.Series) -> pd.DataFrame:
    left = pd.DataFrame({"row": row_keys.index, "key": row_keys.to_numpy()})
    right = pd.DataFrame({"path": paths.to_numpy(), "key": file_keys.to_numpy()})
    right = right[right["key"] != ""]
    return left[among(left["key"], set(right["key"]))].merge(right, on="key")[["row", "path"]]
