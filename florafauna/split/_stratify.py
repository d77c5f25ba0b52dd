"""Groups → train, val, test: every class gets its shares, and groups that have a place keep it.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data") with
groups in the place of examples, since a group may hold several classes: the class with the fewest groups left is served
next. What it still lacks in each split is rounded to whole groups; which of its groups go where is decided by what the
other classes of the group lack there, and by photos, so that one large group is not the whole test set. Groups are
taken in an order that the seed draws, the large ones first. Then groups of several classes are moved as long as that
helps: so that every class is in every split, and for its shares.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import pairwise
from random import Random

import numpy as np
import pandas as pd

from florafauna.base.randomness import rng_key
from florafauna.base.split_names import SPLITS
from florafauna.base.tables import numbered, repeated

TRAIN = SPLITS.index("train")
SERVED = (0, 2, 1)  # what a class needs first: something to learn from, then something to be tested on
NOWHERE = -1
PATIENCE = 300  # moves without success after which a class stays without a split
TABU = 8  # moves for which a group that was moved stays
SWEEPS = 6  # rounds of improvement; later ones hardly change anything


@dataclass(frozen=True)
class Stratified:
    """The split of every photo, and for each class that is not in every split those that it is in."""

    split: pd.Series
    waivers: dict[str, tuple[str, ...]]


def stratify(
    labels: pd.Series, keys: pd.Series, val: float, test: float, seed: int, given: pd.Series | None = None
) -> Stratified:
    """Split photos by group. `keys` names each photo's group; `val` and `test` are shares of each class's groups.

    `given` has the splits that are already decided ("" elsewhere); a group with one follows it, test before val before
    train, and counts towards its classes' shares. Where a class has three groups for it to be possible, it is in every
    split. Equal arguments give equal splits whatever the order of the rows.
    """
    class_of, _ = pd.factorize(labels, sort=True)
    group_of, names = numbered(keys)
    place = np.full(len(names), NOWHERE)
    if given is not None:
        for number, name in enumerate(SPLITS):  # the last wins
            place[group_of[(given == name).to_numpy()]] = number
    order = array("q", (rng_key(seed, 0, f"split {name}") for name in names))
    drawn = _drawn(_groups_of(class_of, group_of, (1 - val - test, val, test), order), place.tolist())
    split = pd.Series(np.array(SPLITS, object)[np.array(drawn, dtype=int)[group_of]], index=keys.index, dtype=object)
    return Stratified(split, waivers(labels, split))


def waivers(labels: pd.Series, split: pd.Series) -> dict[str, tuple[str, ...]]:
    """The classes that are not in every split, with those that they are in."""
    got = split.groupby(labels).agg(set)
    return {
        str(label): tuple(name for name in SPLITS if name in places)
        for label, places in got.items()
        if len(places) < len(SPLITS)
    }


def crossing(split: pd.Series, keys: pd.Series) -> list[str]:
    """The groups that lie in more than one split."""
    several = repeated(keys)  # most groups are one photo
    counts = split[several].groupby(keys[several]).nunique()
    return sorted(counts.index[counts > 1])


def shares(split: pd.Series) -> dict[str, float]:
    """The share of photos in each split."""
    return {name: float(np.mean(split == name)) for name in SPLITS}


# ---- the drawing: groups and classes are numbers, splits are those of SPLITS


@dataclass(frozen=True)
class _Groups:
    """What is drawn. The last class is all photos together, so that the rounding of many classes does not add up.

    Most groups are one photo, so a group is held in few bytes: those that hold the same share one tuple.
    """

    inside: list[tuple[tuple[int, int], ...]]  # group → its classes, and the photos of each in it
    members: list[Sequence[int]]  # class → its groups
    photos: list[int]  # class → its photos
    share: tuple[float, ...]  # of each split
    order: Sequence[int]  # by which groups are taken, drawn by the seed

    @cached_property
    def classes(self) -> range:
        """Those that are labels."""
        return range(len(self.members) - 1)

    @cached_property
    def served(self) -> list[int]:
        """Splits that are to get something, the most needed first."""
        return [split for split in SERVED if self.share[split] > 0]

    def needed(self, number: int) -> list[int]:
        """Splits that a class has groups enough for."""
        return self.served[: len(self.members[number])]


class _Draw:
    """Where the groups are, and what each class has and lacks there."""

    def __init__(self, groups: _Groups) -> None:
        self.groups = groups
        self.place = [NOWHERE] * len(groups.inside)
        self.left = [len(members) for members in groups.members]  # class → groups that are nowhere
        self.have = [[0, 0, 0] for _ in groups.members]  # class → groups in each split
        self.lack = [[part * len(members) for part in groups.share] for members in groups.members]  # real numbers
        self.lack_photos = [[part * count for part in groups.share] for count in groups.photos]

    def put(self, group: int, split: int) -> None:
        """Move a group to a split, or NOWHERE."""
        before = self.place[group]
        self.place[group] = split
        for where, sign in ((before, 1), (split, -1)):
            if where == NOWHERE:
                for number, _ in self.groups.inside[group]:
                    self.left[number] -= sign
                continue
            for number, photos in self.groups.inside[group]:
                self.have[number][where] -= sign
                self.lack[number][where] += sign
                self.lack_photos[number][where] += sign * photos


def _groups_of(class_of: np.ndarray, group_of: np.ndarray, share: tuple[float, ...], order: Sequence[int]) -> _Groups:
    """Photos, by the number of their class and group, counted."""
    size, everything = len(order), int(class_of.max(initial=-1)) + 1
    pairs, photos = np.unique(class_of.astype(np.int64) * size + group_of, return_counts=True)
    inside: list[tuple[tuple[int, int], ...]] = [()] * size
    same: dict[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = {}

    def add(group: int, number: int, count: int) -> None:
        held = (*inside[group], (number, count))
        inside[group] = same.setdefault(held, held)

    for pair, count in zip(map(int, pairs), map(int, photos), strict=True):
        add(pair % size, pair // size, count)
    for group, held in enumerate(inside):
        add(group, everything, sum(count for _, count in held))
    bounds = np.searchsorted(pairs, np.arange(everything + 1) * size)
    members = [array("q", (pairs[begin:end] % size).tobytes()) for begin, end in pairwise(bounds)]
    return _Groups(inside, [*members, range(size)], [*np.bincount(class_of).tolist(), len(class_of)], share, order)


def _drawn(groups: _Groups, fixed: Sequence[int]) -> list[int]:
    """The split of every group; those in `fixed` (NOWHERE: free) stay there."""
    draw = _Draw(groups)
    for group, split in enumerate(fixed):
        if split != NOWHERE:
            draw.put(group, split)
    _serve_all(draw)
    free = [split == NOWHERE for split in fixed]
    _cover(draw, free)
    _improve(draw, [group for group, held in enumerate(groups.inside) if free[group] and len(held) > 2])
    return draw.place


# ---- serving: class by class, the one with the fewest groups left first


def _serve_all(draw: _Draw) -> None:
    queue = [(draw.left[number], number) for number in draw.groups.classes]
    heapify(queue)
    while queue:
        left, number = heappop(queue)
        if left == draw.left[number]:
            _serve(draw, number)
        elif draw.left[number]:
            heappush(queue, (draw.left[number], number))


def _serve(draw: _Draw, number: int) -> None:
    """Place all groups of a class that are nowhere."""
    groups = draw.groups
    free = [group for group in groups.members[number] if draw.place[group] == NOWHERE]
    quota = _quota(draw, number, len(free))

    def turn(group: int) -> tuple[int, int, int]:
        """Groups of like size are in the order that the seed draws."""
        return -dict(groups.inside[group])[number].bit_length(), groups.order[group], group

    for group in sorted(free, key=turn):
        split = max((split for split in SERVED if quota[split]), key=lambda split: _gain(draw, group, split))
        quota[split] -= 1
        draw.put(group, split)


def _quota(draw: _Draw, number: int, free: int) -> list[int]:
    """How many of its free groups a class gives each split: one where it has none, the rest where most lacks."""
    served, quota = draw.groups.served, [0, 0, 0]
    for split in served:
        if not draw.have[number][split] and sum(quota) < free:
            quota[split] += 1
    lack = [draw.lack[number][split] - quota[split] for split in range(3)]
    for _ in range(free - sum(quota)):
        split = max(served, key=lambda each: (lack[each], draw.lack[-1][each] - quota[each]))
        quota[split] += 1
        lack[split] -= 1
    return quota


def _gain(draw: _Draw, group: int, split: int) -> float:
    """By how much the squared distance to the targets shrinks, over classes, in shares of groups and of photos.

    Distances are divided by a split's share, so that splits fill at the same pace.
    """
    groups, gain = draw.groups, 0.0
    for number, photos in groups.inside[group]:
        count, all_photos = len(groups.members[number]), groups.photos[number]
        gain += (2 * draw.lack[number][split] - 1) / count
        gain += (2 * draw.lack_photos[number][split] - photos) * photos * count / all_photos**2
    return gain / max(groups.share[split], 1e-9)


# ---- covering: every class in every split that its groups suffice for


def _cover(draw: _Draw, free: Sequence[bool]) -> None:
    """Move groups that are `free` until no class lacks a split that it has groups enough for.

    Minimising conflicts (Minton et al. 1992): a class that lacks a split is drawn and takes the group there whose
    move takes least from others; the best state seen is kept.
    """
    groups = draw.groups
    random = Random(min(groups.order, default=0))
    moved_at: dict[int, int] = {}
    best, best_place, step, since = _unmet(draw, free), list(draw.place), 0, 0
    unmet = best
    while unmet and since < PATIENCE:
        number, split = random.choice(unmet)
        ready = [
            group
            for group in groups.members[number]
            if free[group] and draw.place[group] != split and moved_at.get(group, -TABU) <= step - TABU
        ]
        step, since = step + 1, since + 1
        if not ready:
            continue
        chosen = min(ready, key=lambda group: (_harm(draw, group), -_gain(draw, group, split), groups.order[group]))
        moved_at[chosen] = step
        draw.put(chosen, split)
        unmet = _unmet(draw, free)
        if _severity(groups, unmet) < _severity(groups, best):
            best, best_place, since = unmet, list(draw.place), 0
    for group, split in enumerate(best_place):
        if draw.place[group] != split:
            draw.put(group, split)


def _unmet(draw: _Draw, free: Sequence[bool]) -> list[tuple[int, int]]:
    """Classes and the splits that they need, lack and have a group to move to."""
    groups = draw.groups
    return [
        (number, split)
        for number in groups.classes
        if 0 in draw.have[number]
        for split in groups.needed(number)
        if not draw.have[number][split] and any(free[group] for group in groups.members[number])
    ]


def _harm(draw: _Draw, group: int) -> tuple[int, int, int]:
    """What a group's leaving would cost: the severity of the needs of which it is the only one to meet them."""
    groups, held = draw.groups, draw.place[group]
    alone = [
        (number, held)
        for number, _ in groups.inside[group]
        if number in groups.classes and draw.have[number][held] == 1 and held in groups.needed(number)
    ]
    return _severity(groups, alone)


def _severity(groups: _Groups, unmet: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
    """How many classes cannot be learnt, how many of those with groups for all splits lack one, and the rest."""
    untrained = sum(split == TRAIN for _, split in unmet)
    avoidable = sum(len(groups.members[number]) >= len(groups.served) for number, _ in unmet)
    return (untrained, avoidable, len(unmet))


# ---- improving


def _improve(draw: _Draw, free: Sequence[int]) -> None:
    """Move groups of several classes, one at a time, as long as that brings the classes closer to their shares.

    No class loses the only group that it has and needs in a split.
    """
    groups = draw.groups
    for _ in range(SWEEPS):
        moved = False
        for group in sorted(free, key=lambda each: (groups.order[each], each)):
            held = draw.place[group]
            if _harm(draw, group) != (0, 0, 0):
                continue
            draw.put(group, NOWHERE)
            best = max(groups.served, key=lambda split: (_gain(draw, group, split), split == held))
            draw.put(group, best)
            moved |= best != held
        if not moved:
            break
