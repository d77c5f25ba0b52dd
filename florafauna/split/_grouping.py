"""Photos that must stay on one side of a split: those that share a value in a group column or show the same picture."""

import numpy as np
import pandas as pd

from florafauna.base.components import components
from florafauna.base.files import sha256_bytes

CLUSTER_DIGITS = 12


def cluster_names(cluster: np.ndarray, sha256: pd.Series) -> pd.Series:
    """A name for each cluster of copies that other photos cannot change: its smallest SHA-256; "" for a lone photo."""
    several = pd.Series(cluster).duplicated(keep=False).to_numpy()
    names = pd.Series("", index=sha256.index, dtype="str")
    copies = sha256[several]
    names[several] = copies.groupby(cluster[several]).transform("min").str[:CLUSTER_DIGITS]
    return names


def join(
    table: pd.DataFrame, columns: tuple[str, ...], cluster: pd.Series, burst: pd.Series | None = None
) -> pd.DataFrame:
    """The group of each photo: the connected components over equal values of `columns`, of `burst` and of `cluster`, ""
    apart, and of the file where boxes of it are shown.

    Returns columns `group` (a name, "" for a photo on its own) and `key`, a name that every photo's group has. It is a
    value of the first of `columns` that the group has, or of `burst`, so that more photos of a burst leave it as it was
    (the manifest names it: photos that are added should change no other row); a group without values goes by its
    photos' SHA-256.
    """
    named = {column: table[column] for column in columns}
    if burst is not None and (burst != "").any():
        named["burst"] = burst
    files = [table["sha256"]] if "crop" in table.columns else []
    component = components([*named.values(), cluster, *files])
    several = pd.Series(component).duplicated(keep=False).to_numpy()
    key = pd.Series("", index=table.index)
    for column, values in named.items():
        text = (column + "=" + values).where(values != "", "")
        key = key.where(key != "", _least(text, component, several))
    own = "sha256=" + table["sha256"].str[:CLUSTER_DIGITS]
    lone = key == ""
    key = key.where(~lone, _least(own, component, several))
    return pd.DataFrame({"group": key.where(~lone | several, ""), "key": key})


def _least(text: pd.Series, component: np.ndarray, several: np.ndarray) -> pd.Series:
    """For every row the text of its component with the smallest hash, "" where it has none; `several` says which rows
    are not alone in theirs.

    By hash, not by alphabet: a new member then changes the key of a group of n with probability 1 / (n + 1) only.
    """
    own, component = text[several], component[several]
    digests = {value: sha256_bytes(value.encode(errors="surrogateescape")) for value in own.unique()}
    frame = pd.DataFrame({"text": own, "digest": own.map(digests), "component": component})
    present = frame[frame["text"] != ""].sort_values("digest").drop_duplicates("component").set_index("component")
    least = text.copy()
    least[several] = pd.Series(component).map(present["text"]).fillna("").to_numpy()
    return least
