"""Facts of photos → clusters of copies: the same bytes, or the same picture re-encoded, scaled, cropped or mirrored.

A pair of pictures is a candidate where the hash of one differs in at most RADIUS of 64 bits from the hash of a view of
the other, mirrored or not (`perceptual.VIEWS`), and a match where their thumbnails agree too
(`perceptual.same_picture`). Clusters are the connected components of matches. Candidates come from multi-index
hashing (Norouzi, Punjani and Fleet 2012, "Fast search in Hamming space with multi-index hashing"), not from all pairs:
two hashes that differ in at most 7 bits differ in at most one bit of one of four 16-bit bands.

A flat picture (a lens cap, a black night) has no hash worth the name: it is clustered with files of the same bytes and
with nothing else, so that blank frames cannot chain unlike photos into one cluster.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from florafauna.perceptual import BANDS, BITS, Bytes, Hashes, mirrored, same_picture
from florafauna.progress import track

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

_QUERIES_A_CHUNK = 1 << 18  # bounds a search's memory to about 100 MB
_ROUNDS = 8  # candidates tried between two clusters in one chunk of the search, closest first


def cluster(sha256: Sequence[str], hashes: Hashes, thumbnails: Bytes, flat: Sequence[bool]) -> Indices:
    """The cluster of each photo as a number; photos with the same number show the same picture.

    `hashes` is (photos, views), `thumbnails` (photos, side, side). Which photos are together does not depend on their
    order.
    """
    _, first, exact = np.unique(np.asarray(sha256, dtype=str), return_index=True, return_inverse=True)
    telling = np.flatnonzero(~np.asarray(flat, dtype=bool)[first])
    labels = np.arange(len(first))
    labels[telling] = len(first) + cluster_pictures(hashes[first[telling]], thumbnails[first[telling]])
    return labels[exact]


def cluster_pictures(hashes: Hashes, thumbnails: Bytes) -> Indices:
    """As `cluster`, by what the pictures look like alone; none of them should be flat."""
    whole = hashes[:, 0]
    labels = np.arange(len(whole))
    for first, second in _neighbours(whole):
        labels = _match(
            labels, first, second, np.zeros(len(first), dtype=bool), whole[first] ^ whole[second], thumbnails
        )
    chosen = _representatives(labels, whole)
    views = hashes[chosen]
    queries = np.concatenate([views.ravel(), mirrored(views).ravel()])
    owner = np.tile(np.repeat(chosen, hashes.shape[1]), 2)
    flipped = np.arange(len(queries)) >= views.size
    for query, found in pairs_within_radius(queries, whole[chosen]):
        first, second = owner[query], chosen[found]
        labels = _match(labels, first, second, flipped[query], queries[query] ^ whole[second], thumbnails)
    return labels


def pairs_within_radius(queries: Hashes, hashes: Hashes) -> Iterator[tuple[Indices, Indices]]:
    """Chunks of index pairs (query, hash) that differ in at most RADIUS bits; a pair may come up to once a band."""
    probes = [(band, flip) for band in range(BANDS) for flip in _FLIPS]
    tables = [_Table(hashes, band) for band in range(BANDS)]
    for band, flip in track(probes, "duplicates"):
        keys = _band(queries, band) ^ flip
        for start in range(0, len(queries), _QUERIES_A_CHUNK):
            query, found = tables[band].lookup(keys[start : start + _QUERIES_A_CHUNK])
            query += start
            near = np.bitwise_count(queries[query] ^ hashes[found]) <= RADIUS
            yield query[near], found[near]


class _Table:
    """Hashes by the value of one band."""

    def __init__(self, hashes: Hashes, band: int) -> None:
        values = _band(hashes, band)
        self._order = np.argsort(values, kind="stable")
        self._bounds = np.searchsorted(values[self._order], np.arange(2**_BAND_BITS + 1))

    def lookup(self, keys: Indices) -> tuple[Indices, Indices]:
        """All pairs (index of key, index of hash) of equal band value, crowded values left out."""
        begin = self._bounds[keys]
        count = self._bounds[keys + 1] - begin
        count[count > _CROWDED] = 0
        key = np.repeat(np.arange(len(keys)), count)
        offset = np.arange(len(key)) - np.repeat(np.cumsum(count) - count, count)
        return key, self._order[np.repeat(begin, count) + offset]


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
    labels: Indices, first: Indices, second: Indices, flipped: Flags, difference: Hashes, thumbnails: Bytes
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
        pictures = thumbnails[first[tried]]
        pictures[flipped[tried]] = pictures[flipped[tried], :, ::-1]
        same = same_picture(pictures, thumbnails[second[tried]])
        labels = _join(labels, first[tried[same]], second[tried[same]])
        rest = np.setdiff1d(apart, tried, assume_unique=True)
        first, second, flipped, distance = first[rest], second[rest], flipped[rest], distance[rest]
    return labels


def _join(labels: Indices, first: Indices, second: Indices) -> Indices:
    if len(first) == 0:
        return labels
    size = len(labels)
    edges = coo_array((np.ones(len(first), dtype=np.int8), (labels[first], labels[second])), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return component.astype(np.int64)[labels]


def _band(hashes: Hashes, band: int) -> Indices:
    return ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(2**_BAND_BITS - 1)).astype(np.int64)
