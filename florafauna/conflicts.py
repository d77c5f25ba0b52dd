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

from florafauna.perceptual import Bytes

# A cell may differ by TOLERANCE of its surroundings' range of grey levels (a copy of another size is sampled a fraction
# of a pixel elsewhere) and of STEADY levels (rounding, JPEG). Chosen on ../shared/photos so that JPEGs of quality 50
# pass and that a dot of 0.5 % of the picture (0.2 %: one in twenty) does not: `python -m benchmarks duplicates`.
TOLERANCE = 0.05
STEADY = 40.0
_PARTNERS = 3  # the photos of other labels that are most alike; the others are no copies if these are none
_PAIRS_AT_ONCE = 1 << 22  # bounds memory to about 100 MB
_NAMED = 4  # files in a sentence

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def label_conflicts(table: pd.DataFrame, thumbnails: Bytes, rows: Indices | None = None) -> pd.Series:
    """Why the label of each photo cannot be trusted, naming the files that contradict each other; "" elsewhere.

    `table` has path, label, cluster (a number), sha256, flat and perhaps datetime;
    `thumbnails` is (photos, side, side); where it holds more than the photos, `rows` says which of its own each is.
    """
    rows = np.arange(len(table)) if rows is None else rows
    labels, content = (pd.factorize(table[name], sort=True)[0] for name in ("label", "sha256"))
    exact = (table["label"].groupby(content).transform("nunique") > 1).to_numpy()
    mixed = (table["label"].groupby(table["cluster"]).transform("nunique") > 1).to_numpy()
    found = list(_pairs_of_equals(np.flatnonzero(exact), content))
    some = np.flatnonzero(mixed & ~table["flat"].to_numpy(dtype=bool))
    times = pd.factorize(table["datetime"], sort=True)[0] if "datetime" in table.columns else np.zeros(len(table), int)
    timed = (table["datetime"] != "").to_numpy() if "datetime" in table.columns else np.zeros(len(table), bool)
    for members in table.iloc[some].groupby("cluster").indices.values():
        numbers = some[members]
        shown = thumbnails[rows[numbers]]
        for one, other, flipped in _partners(shown, labels[numbers], times[numbers], timed[numbers]):
            first = shown[one]
            first = first[:, :, ::-1] if flipped else first
            same = are_copies(first, shown[other])
            found += zip(numbers[one[same]].tolist(), numbers[other[same]].tolist(), strict=True)
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
    cells = levels.shape[1] * levels.shape[2]
    x, y = levels.reshape(-1, cells), target.reshape(-1, cells)
    y = y - y.mean(axis=1, keepdims=True)
    basis: list[Floats] = []
    x = x - x.mean(axis=1, keepdims=True)
    for power in (x, x**2):
        part = power - power.mean(axis=1, keepdims=True)
        for known in basis:
            part = part - known * (part * known).sum(axis=1, keepdims=True)
        part = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9)
        y = y - part * (y * part).sum(axis=1, keepdims=True)
        basis.append(part)
    return y.reshape(target.shape)


def _pairs_of_equals(chosen: Indices, content: Indices) -> Iterator[tuple[int, int]]:
    """Each of `chosen` with the first of the same content."""
    first: dict[int, int] = {}
    for number in chosen.tolist():
        yield first.setdefault(int(content[number]), number), number


def _partners(
    thumbnails: Bytes, labels: Indices, times: Indices, timed: npt.NDArray[np.bool_]
) -> Iterator[tuple[Indices, Indices, bool]]:
    """Chunks of photos of one cluster, each with those of other labels that look most like it, mirrored or not."""
    vectors = [_standardised(levels) for levels in (thumbnails, thumbnails[:, :, ::-1])]
    step = max(1, _PAIRS_AT_ONCE // len(labels))
    for start in range(0, len(labels), step):
        rows = np.arange(start, min(start + step, len(labels)))
        apart = labels[rows, None] == labels
        apart |= timed[rows, None] & timed & (times[rows, None] != times)
        for flipped in (False, True):
            alike = np.where(apart, -np.inf, vectors[flipped][rows] @ vectors[0].T)
            best = np.argpartition(-alike, min(_PARTNERS, len(labels)) - 1, axis=1)[:, :_PARTNERS]
            there = np.take_along_axis(alike, best, axis=1) > -np.inf
            yield np.repeat(rows, best.shape[1])[there.ravel()], best[there], flipped


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
