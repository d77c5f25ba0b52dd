"""Facts of photos → clusters of copies: the same pixels, or the same picture re-encoded, scaled, cropped or mirrored.

A pair of pictures is a candidate where the hash of one differs in at most RADIUS of 64 bits from the hash of a view of
the other, mirrored or not (`perceptual.VIEWS`), and a match where their thumbnails agree too
(`perceptual.same_picture`). Clusters are the connected components of matches. Candidates come from multi-index
hashing (Norouzi, Punjani and Fleet 2012, "Fast search in Hamming space with multi-index hashing"), not from all pairs:
two hashes that differ in at most 7 bits differ in at most one bit of one of four 16-bit bands.

A flat picture (a lens cap, a black night) has no hash worth the name: it is clustered with files of the same bytes and
with nothing else, so that blank frames cannot chain unlike photos into one cluster.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from florafauna.audit._perceptual import BANDS, BITS, Bytes, Hashes, mirrored, same_picture
from florafauna.base.progress import track

Indices: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

RADIUS = 7  # the largest for which one flipped bit a band is a complete search; what it finds is in benchmarks/

_BAND_BITS = BITS // BANDS
_FLIPS = (0, *(1 << bit for bit in range(_BAND_BITS)))

# A camera that looks at one scene makes thousands of pictures that are all alike. Once matched to each other they
# need not all look for further matches: this many of a cluster, spread over its hashes, do.
_REPRESENTATIVES = 8

# A band value that more pictures share tells nothing; their pairs are left to the other three bands, which still give
# away all within 5 bits. Without the limit 100,000 hashes with one common band would be compared all to all.
_CROWDED = 1024

_QUERIES_A_CHUNK = 1 << 14  # and
_PAIRS_A_CHUNK = 1 << 10  # bound a search's memory to some 10 MB
_ROUNDS = 8  # candidates tried between two clusters in one chunk of the search, closest first


def cluster(
    picture: Sequence[str] | pd.Series,
    hashes: Hashes,
    thumbnails: Bytes,
    flat: npt.ArrayLike,
    rows: Indices | None = None,
) -> Indices:
    """The cluster of each photo as a number; photos with the same number show the same picture.

    `picture` is equal where photos certainly show the same: a hash of pixels or, of a flat picture, of the bytes.
    `hashes` is (photos, views), `thumbnails` (photos, side, side); where they hold more than the photos, `rows` says
    which of theirs each photo is, since a selection would be a copy. Which photos are together does not depend on
    their order.
    """
    exact, _ = pd.factorize(pd.Series(picture, dtype=str), sort=True)
    _, first = np.unique(exact, return_index=True)
    telling = np.flatnonzero(~np.asarray(flat, dtype=bool)[first])
    labels = np.arange(len(first))
    chosen = first[telling] if rows is None else rows[first[telling]]
    labels[telling] = len(first) + cluster_pictures(hashes, thumbnails, chosen)
    return labels[exact]


def cluster_pictures(hashes: Hashes, thumbnails: Bytes, rows: Indices | None = None) -> Indices:
    """As `cluster`, by what the pictures look like alone; none of them should be flat."""
    rows = np.arange(len(hashes)) if rows is None else rows
    whole = hashes[rows, 0]
    labels = np.arange(len(whole))
    for first, second in _neighbours(whole):
        labels = _match(labels, first, second, False, whole[first] ^ whole[second], thumbnails, rows)
    chosen = _representatives(labels, whole)
    tables = _tables(whole[chosen])
    # A view at a time: what all of them differ in at once would be most of the memory of a split.
    for view, flipped in track(list(product(range(hashes.shape[1]), (False, True))), "duplicates"):
        queries = hashes[rows[chosen], view]
        queries = mirrored(queries) if flipped else queries
        for query, found in _search(queries, whole[chosen], tables):
            first, second = chosen[query], chosen[found]
            difference = queries[query] ^ whole[second]
            labels = _match(labels, first, second, flipped, difference, thumbnails, rows)
    return labels


def pairs_within_radius(queries: Hashes, hashes: Hashes) -> Iterator[tuple[Indices, Indices]]:
    """Chunks of index pairs (query, hash) that differ in at most RADIUS bits; a pair may come up to once a band."""
    return _search(queries, hashes, _tables(hashes))


def _search(queries: Hashes, hashes: Hashes, tables: "list[_Table]") -> Iterator[tuple[Indices, Indices]]:
    for start in range(0, len(queries), _QUERIES_A_CHUNK):
        asked = queries[start : start + _QUERIES_A_CHUNK]
        parts = []
        for band, table in enumerate(tables):
            keys = _band(asked, band)
            for flip in _FLIPS:
                query, found = table.near(asked, keys ^ flip)
                parts.append((start + query, found))
        yield np.concatenate([query for query, _ in parts]), np.concatenate([found for _, found in parts])


def _tables(hashes: Hashes) -> "list[_Table]":
    return [_Table(hashes, band) for band in range(BANDS)]


class _Table:
    """Hashes by the value of one band."""

    def __init__(self, hashes: Hashes, band: int) -> None:
        values = _band(hashes, band)
        self._order = np.argsort(values, kind="stable").astype(np.uint32)  # half the memory
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(values, minlength=2**_BAND_BITS))])
        self._hashes = hashes[self._order]  # those of one value side by side: most of a search is reading them

    def near(self, asked: Hashes, keys: Indices) -> tuple[Indices, Indices]:
        """All pairs (index of query, index of hash) within RADIUS whose hash has the query's key as its band value,
        crowded values left out."""
        begin = self._bounds[keys]
        count = self._bounds[keys + 1] - begin
        count[count > _CROWDED] = 0
        place = np.repeat(begin - np.cumsum(count) + count, count)
        place += np.arange(len(place))
        near = np.flatnonzero(np.bitwise_count(np.repeat(asked, count) ^ self._hashes[place]) <= RADIUS)
        query = np.searchsorted(np.cumsum(count), near, side="right")
        return query, self._order[place[near]].astype(np.int64)


def _neighbours(hashes: Hashes) -> Iterator[tuple[Indices, Indices]]:
    """Pairs within RADIUS that lie side by side in one of four sorted orders, each led by another band.

    This links what is most alike (equal hashes above all) without pairing all with all.
    """
    for band in range(BANDS):
        shift = np.uint64(band * _BAND_BITS)
        rotated = (hashes << shift) | (hashes >> (np.uint64(BITS) - shift)) if band else hashes
        order = np.argsort(rotated, kind="stable")
        near = np.bitwise_count(hashes[order[:-1]] ^ hashes[order[1:]]) <= RADIUS
        yield order[:-1][near], order[1:][near]


def _representatives(labels: Indices, hashes: Hashes) -> Indices:
    """At most _REPRESENTATIVES members of each cluster, evenly spread over its sorted hashes; sorted indices."""
    order = np.lexsort((hashes, labels))
    _, start, count = np.unique(labels[order], return_index=True, return_counts=True)
    size = np.repeat(count, count)
    rank = np.arange(len(labels)) - np.repeat(start, count)
    kept = np.minimum(size, _REPRESENTATIVES)
    return np.sort(order[rank * kept // size != (rank - 1) * kept // size])


def _match(
    labels: Indices,
    first: Indices,
    second: Indices,
    flipped: bool,
    difference: Hashes,
    thumbnails: Bytes,
    rows: Indices,
) -> Indices:
    """Labels after the candidate pairs that show one picture are joined; `flipped` says that `first` is mirrored.

    Of all candidates between two clusters the closest is tried first, and no more once the two are joined: the
    thousands of pairs within a cluster cost nothing.
    """
    distance = np.bitwise_count(difference)
    for _ in range(_ROUNDS):
        ends = np.sort(np.stack([labels[first], labels[second]]), axis=0)
        apart = np.flatnonzero(ends[0] != ends[1])
        if len(apart) == 0:
            break
        order = apart[np.lexsort((second[apart], first[apart], distance[apart]))]
        _, unique = np.unique(ends[0, order] * len(labels) + ends[1, order], return_index=True)
        tried = order[unique]
        same = _same(thumbnails, rows[first[tried]], rows[second[tried]], flipped)
        labels = _join(labels, first[tried[same]], second[tried[same]])
        rest = np.setdiff1d(apart, tried, assume_unique=True)
        first, second, distance = first[rest], second[rest], distance[rest]
    return labels


def _same(thumbnails: Bytes, first: Indices, second: Indices, flipped: bool) -> Flags:
    """Which of the pairs show one picture; some pairs at a time, which are a hundred times as large as floats."""
    same = np.zeros(len(first), dtype=bool)
    for start in range(0, len(first), _PAIRS_A_CHUNK):
        some = slice(start, start + _PAIRS_A_CHUNK)
        pictures = thumbnails[first[some]]
        same[some] = same_picture(pictures[:, :, ::-1] if flipped else pictures, thumbnails[second[some]])
    return same


def _join(labels: Indices, first: Indices, second: Indices) -> Indices:
    if len(first) == 0:
        return labels
    size = len(labels)
    edges = coo_array((np.ones(len(first), dtype=np.int8), (labels[first], labels[second])), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return component.astype(np.int64)[labels]


def _band(hashes: Hashes, band: int) -> Indices:
    return ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(2**_BAND_BITS - 1)).astype(np.int64)
