"""Label conflicts: the same picture under two labels, whether its bytes are the same or it was saved again.

Near-duplicates are not enough: the frames of a camera that does not move are near-duplicates of each other, the empty
ones and those with an animal, and their labels differ rightly. So two files of a cluster are taken for copies only
where no cell of their thumbnails differs by more than saving again explains, once their grey levels are brought into
line (a change of exposure, contrast or gamma is no difference). An animal that fills a cell or part of it is one. Files
with different times are different exposures. Pairs that this leaves in doubt (copies that were cropped, above all) stay
near-duplicates with several labels: suspects, on one side of the split.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from florafauna.duplicates import pairs_within_radius
from florafauna.perceptual import Bytes, Hashes, mirrored

# A cell may differ by TOLERANCE of its surroundings' range of grey levels (a copy of another size is sampled a fraction
# of a pixel elsewhere) and of STEADY levels (rounding, JPEG). Chosen on ../shared/photos so that JPEGs of quality 50
# pass and that a dot of 0.5 % of the picture does not; `python -m benchmarks duplicates` says what passes.
TOLERANCE = 0.05
STEADY = 20.0
_PAIRS_A_CHUNK = 1 << 14
_NAMED = 4  # files in a sentence

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def label_conflicts(table: pd.DataFrame, hashes: Hashes, thumbnails: Bytes, rows: Indices | None = None) -> pd.Series:
    """Why the label of each photo cannot be trusted, naming the files that contradict each other; "" elsewhere.

    `table` has path, label, cluster (a number), sha256, flat and perhaps datetime; `hashes` is (photos, views),
    `thumbnails` (photos, side, side); where they hold more than the photos, `rows` says which of theirs each photo is.
    """
    rows = np.arange(len(table)) if rows is None else rows
    labels, content = (pd.factorize(table[name], sort=True)[0] for name in ("label", "sha256"))
    cluster = table["cluster"].to_numpy()
    exact = (table["label"].groupby(content).transform("nunique") > 1).to_numpy()
    mixed = table["label"].groupby(cluster).transform("nunique").to_numpy() > 1
    found = list(_pairs_of_equals(np.flatnonzero(exact), content))
    some = np.flatnonzero(mixed & ~table["flat"].to_numpy(dtype=bool))
    time = table["datetime"].to_numpy() if "datetime" in table.columns else np.full(len(table), "")
    for one, other, flipped in _candidates(some, hashes[rows[some], 0]):
        apart = (labels[one] != labels[other]) & (cluster[one] == cluster[other])
        apart &= (time[one] == time[other]) | (time[one] == "") | (time[other] == "")
        one, other, flipped = one[apart], other[apart], flipped[apart]
        for start in range(0, len(one), _PAIRS_A_CHUNK):
            chunk = slice(start, start + _PAIRS_A_CHUNK)
            first = thumbnails[rows[one[chunk]]]
            first[flipped[chunk]] = first[flipped[chunk], :, ::-1]
            same = are_copies(first, thumbnails[rows[other[chunk]]])
            found += zip(one[chunk][same].tolist(), other[chunk][same].tolist(), strict=True)
    return _named(table, found)


def are_copies(first: Bytes, second: Bytes) -> npt.NDArray[np.bool_]:
    """Whether the thumbnails of each pair, (pairs, side, side), differ by no more than saving again explains."""
    one, other = first.astype(np.float64), second.astype(np.float64)
    allowed = TOLERANCE * (STEADY + np.maximum(_range(one), _range(other)))
    return np.asarray(
        (np.abs(_unexplained(one, other)) <= allowed).all((1, 2))
        & (np.abs(_unexplained(other, one)) <= allowed).all((1, 2))
    )


def _range(levels: Floats) -> Floats:
    """The range of grey levels around each cell."""
    return maximum_filter(levels, (0, 3, 3)) - minimum_filter(levels, (0, 3, 3))


def _unexplained(levels: Floats, target: Floats) -> Floats:
    """What is left of `target` after the best quadratic function of `levels`."""
    x, y = levels.reshape(len(levels), -1), target.reshape(len(target), -1)
    x = (x - x.mean(axis=1, keepdims=True)) / np.maximum(x.std(axis=1, keepdims=True), 1e-9)
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, x**2], axis=2))
    fitted = np.einsum("pck,pk->pc", basis, np.einsum("pck,pc->pk", basis, y))
    return (y - fitted).reshape(target.shape)


def _pairs_of_equals(chosen: Indices, content: Indices) -> Iterator[tuple[int, int]]:
    """Each of `chosen` with the first of the same content."""
    first: dict[int, int] = {}
    for number in chosen.tolist():
        yield first.setdefault(int(content[number]), number), number


def _candidates(some: Indices, hashes: Hashes) -> Iterator[tuple[Indices, Indices, npt.NDArray[np.bool_]]]:
    """Chunks of pairs of `some` with hashes that are alike, the first mirrored where the flag says so."""
    queries = np.concatenate([hashes, mirrored(hashes)])
    for query, found in pairs_within_radius(queries, hashes):
        first = query % max(len(some), 1)
        ahead = first < found
        yield some[first[ahead]], some[found[ahead]], query[ahead] >= len(some)


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
