"""Label conflicts: the same picture under two labels, whether its bytes are the same or it was saved again.

Near-duplicates are not enough: the frames of a camera that does not move are near-duplicates of each other, the empty
ones and those with an animal, and their labels differ rightly. So two files of a cluster are taken for copies only
where their thumbnails show one picture and their decoded pixels one exposure (`registration`). Files with different
times are different exposures.

A cluster may be 10,000 frames of a camera, so pairs are tried from the most alike down until MISSES of the cluster were
no copies, or PAIRS were tried. What lies beyond stays near-duplicates with several labels: suspects, on one side of the
split.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from florafauna.perceptual import Bytes, same_picture
from florafauna.progress import track
from florafauna.registration import Pixels, picture, same_exposure
from florafauna.sources import Source

MISSES, PAIRS = 64, 1000  # of a cluster
_PARTNERS = 3  # the photos of other labels that are most alike; the others are no copies if these are none
_PAIRS_AT_ONCE = 1 << 22  # bounds memory to about 100 MB
_SIEVED_AT_ONCE = 256
_KEPT = 512  # decoded pictures, 40 MB
_NAMED = 4  # files in a sentence

Pair = tuple[int, int, bool]  # two photos, and whether one is mirrored
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def label_conflicts(table: pd.DataFrame, thumbnails: Bytes, source: Source, rows: Indices | None = None) -> pd.Series:
    """Why the label of each photo cannot be trusted, naming the files that contradict each other; "" elsewhere.

    `table` has path (in `source`), label, cluster (a number), sha256, flat and perhaps datetime;
    `thumbnails` is (photos, side, side); where it holds more than the photos, `rows` says which of its own each is.
    A file that does not decode here is no copy.
    """
    rows = np.arange(len(table)) if rows is None else rows
    labels, content = (pd.factorize(table[name], sort=True)[0] for name in ("label", "sha256"))
    exact = (table["label"].groupby(content).transform("nunique") > 1).to_numpy()
    mixed = (table["label"].groupby(table["cluster"]).transform("nunique") > 1).to_numpy()
    found = list(_pairs_of_equals(np.flatnonzero(exact), content))
    some = np.flatnonzero(mixed & ~table["flat"].to_numpy(dtype=bool))
    times = pd.factorize(table["datetime"], sort=True)[0] if "datetime" in table.columns else np.zeros(len(table), int)
    timed = (table["datetime"] != "").to_numpy() if "datetime" in table.columns else np.zeros(len(table), bool)
    shown = lru_cache(_KEPT)(partial(_shown, source, table["path"].to_numpy()))
    for members in track(list(table.iloc[some].groupby("cluster").indices.values()), "label conflicts"):
        numbers = some[members]
        squares = thumbnails[rows[numbers]]
        apart = content[numbers], labels[numbers], times[numbers], timed[numbers]
        one, other, flipped = _alike(_partners(squares, *apart))
        sieved = _sieved(one, other, flipped, squares)
        found += _copies(((int(numbers[a]), int(numbers[b]), mirrored) for a, b, mirrored in sieved), shown)
    return _named(table, found)


def _shown(source: Source, paths: npt.NDArray[np.object_], number: int) -> Pixels | None:
    try:
        return picture(source.read(paths[number]))
    except OSError:
        return None


def _copies(candidates: Iterator[Pair], shown: Callable[[int], Pixels | None]) -> Iterator[tuple[int, int]]:
    """Those that are copies, within the bounds; not all pairs of many copies, but each copy in one."""
    involved: set[int] = set()
    tried = missed = 0
    for one, other, flipped in candidates:
        if one in involved and other in involved:
            continue
        if missed == MISSES or tried == PAIRS:
            return
        first, second = shown(one), shown(other)
        tried += 1
        if first is None or second is None or not same_exposure(first[:, ::-1] if flipped else first, second):
            missed += 1
        else:
            involved |= {one, other}
            yield one, other


def _alike(partners: "Iterator[_Partners]") -> tuple[Indices, Indices, Flags]:
    """Every pair once, the most alike first."""
    parts = list(partners)
    one, other, alike, flipped = (np.concatenate([part[n] for part in parts]) for n in range(4))
    first, second = np.minimum(one, other), np.maximum(one, other)
    _, once = np.unique(np.stack([first, second, flipped]), axis=1, return_index=True)
    order = once[np.lexsort((flipped[once], second[once], first[once], -alike[once]))]
    return first[order], second[order], flipped[order].astype(bool)


def _sieved(first: Indices, second: Indices, mirrored: Flags, thumbnails: Bytes) -> Iterator[Pair]:
    """Those of the pairs whose thumbnails show one picture, either perhaps a crop of the other."""
    for start in range(0, len(first), _SIEVED_AT_ONCE):
        one, other, flipped = (part[start : start + _SIEVED_AT_ONCE] for part in (first, second, mirrored))
        squares = thumbnails[one]
        squares[flipped] = squares[flipped][:, :, ::-1]
        same = same_picture(squares, thumbnails[other])
        yield from zip(one[same].tolist(), other[same].tolist(), flipped[same].tolist(), strict=True)


def _pairs_of_equals(chosen: Indices, content: Indices) -> Iterator[tuple[int, int]]:
    """Each of `chosen` with the first of the same content."""
    first: dict[int, int] = {}
    for number in chosen.tolist():
        yield first.setdefault(int(content[number]), number), number


_Partners = tuple[Indices, Indices, npt.NDArray[np.float32], Flags]


def _partners(
    thumbnails: Bytes, content: Indices, labels: Indices, times: Indices, timed: Flags
) -> Iterator[_Partners]:
    """Chunks of photos of one cluster, each with those of other labels that look most like it, mirrored or not.

    Equal bytes are no partners: they are known. Of each pair also how alike they are, and whether one is mirrored.
    """
    vectors = [_standardised(levels) for levels in (thumbnails, thumbnails[:, :, ::-1])]
    step = max(1, _PAIRS_AT_ONCE // len(labels))
    for start in range(0, len(labels), step):
        rows = np.arange(start, min(start + step, len(labels)))
        apart = (labels[rows, None] == labels) | (content[rows, None] == content)
        apart |= timed[rows, None] & timed & (times[rows, None] != times)
        for flipped in (False, True):
            alike = np.where(apart, -np.inf, vectors[flipped][rows] @ vectors[0].T)
            best = np.argpartition(-alike, min(_PARTNERS, len(labels)) - 1, axis=1)[:, :_PARTNERS]
            how = np.take_along_axis(alike, best, axis=1)
            there = how > -np.inf
            one = np.repeat(rows, best.shape[1])[there.ravel()]
            yield one, best[there], how[there], np.full(len(one), flipped)


def _standardised(thumbnails: Bytes) -> npt.NDArray[np.float32]:
    levels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    return levels / np.maximum(np.linalg.norm(levels, axis=1, keepdims=True), 1e-9)


def _named(table: pd.DataFrame, pairs: list[tuple[int, int]]) -> pd.Series:
    reasons = pd.Series("", index=table.index, dtype=object)
    if not pairs:
        return reasons
    ends = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (ends[0], ends[1])), shape=(len(table), len(table)))
    _, component = connected_components(graph, directed=False)
    involved = np.zeros(len(table), dtype=bool)
    involved[ends.ravel()] = True
    for numbers in table[involved].groupby(component[involved]).indices.values():
        rows = table[involved].iloc[numbers].sort_values("path")
        files = [f"{path} ({label})" for path, label in zip(rows["path"], rows["label"], strict=True)]
        what = "file" if rows["sha256"].nunique() == 1 else "picture"
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        reasons[rows.index] = f"the same {what} under several labels: {' and '.join(files[:_NAMED])}{more}"
    return reasons
