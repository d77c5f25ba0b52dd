"""Groups → train, val, test: every class gets its shares, and groups that have a place keep it.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data") with
groups in the place of examples, since a group may hold several classes: the class with the fewest groups left is served
next. What it still lacks in each split is rounded to whole groups; which of its groups go where is decided by what the
other classes of the group lack there, and by photos, so that one large group is not the whole test set. Groups are
taken in an order that the seed draws, the large ones first. Then groups of several classes are moved as long as that
helps: so that every class is in every split, and for its shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from random import Random

import numpy as np
import pandas as pd

from florafauna.randomness import rng_key

SPLITS = ("train", "val", "test")
TRAIN = SPLITS.index("train")
SERVED = (0, 2, 1)  # what a class needs first: something to learn from, then something to be tested on
NOWHERE = -1
PATIENCE = 300  # moves without success after which a class stays without a split
TABU = 8  # moves for which a group that was moved stays
SWEEPS = 6  # rounds of improvement; later ones hardly change anything


@dataclass(frozen=True)
class Assignment:
    """The split of every photo, and for each class that is not in every split those that it is in."""

    split: pd.Series
    waivers: dict[str, tuple[str, ...]]


def assign(
    labels: pd.Series, keys: pd.Series, val: float, test: float, seed: int, given: pd.Series | None = None
) -> Assignment:
    """Split photos by group. `keys` names each photo's group; `val` and `test` are shares of each class's groups.

    `given` has the splits that are already decided ("" elsewhere); a group with one follows it, test before val before
    train, and counts towards its classes' shares. Where a class has three groups for it to be possible, it is in every
    split. Equal arguments give equal splits whatever the order of the rows.
    """
    class_of, _ = pd.factorize(labels, sort=True)
    group_of, names = pd.factorize(keys, sort=True)
    place = np.full(len(names), NOWHERE)
    if given is not None:
        for number, name in enumerate(SPLITS):  # the last wins
            place[group_of[(given == name).to_numpy()]] = number
    draw = _Draw(class_of, group_of, (1 - val - test, val, test), [rng_key(seed, 0, f"split {name}") for name in names])
    split = pd.Series(np.array(SPLITS)[draw.run(place.tolist())[group_of]], index=keys.index, dtype=object)
    return Assignment(split, waivers(labels, split))


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
    counts = split.groupby(keys).nunique()
    return sorted(counts.index[counts > 1])


def shares(split: pd.Series) -> dict[str, float]:
    """The share of photos in each split."""
    return {name: float(np.mean(split == name)) for name in SPLITS}


class _Draw:
    """The places of groups, by number, while they are drawn; classes are numbers, too.

    All photos together count as one more class, the last, that is served by the way: the rounding of many classes then
    does not add up.
    """

    def __init__(self, class_of: np.ndarray, group_of: np.ndarray, share: Sequence[float], order: list[int]) -> None:
        size = len(order)
        pairs, photos = np.unique(class_of.astype(np.int64) * size + group_of, return_counts=True)
        classes = int(class_of.max(initial=-1)) + 1
        self.inside: list[list[tuple[int, int]]] = [[] for _ in order]  # group → its classes and their photos
        self.members: list[list[tuple[int, int]]] = [[] for _ in range(classes)]  # class → its groups and their photos
        for pair, count in zip(pairs.tolist(), photos.tolist(), strict=True):
            self.inside[pair % size].append((pair // size, count))
            self.members[pair // size].append((pair % size, count))
        self.classes = range(classes)
        self.members.append([(group, sum(count for _, count in held)) for group, held in enumerate(self.inside)])
        for group, count in self.members[-1]:
            self.inside[group].append((classes, count))
        self.share, self.order = share, order
        self.served = [split for split in SERVED if share[split] > 0]
        self.place = [NOWHERE] * size
        self.left = [len(groups) for groups in self.members]  # groups without a place, by class
        self.have = [[0, 0, 0] for _ in self.members]  # groups, by class and split
        self.photos = [sum(count for _, count in groups) for groups in self.members]
        # What is lacking, by class and split; the targets are real numbers
        self.lack = [[part * len(groups) for part in share] for groups in self.members]
        self.lack_photos = [[part * count for part in share] for count in self.photos]

    def run(self, fixed: list[int]) -> np.ndarray:
        """Give every group a place, those in `fixed` (NOWHERE: free) the one they have."""
        for group, split in enumerate(fixed):
            if split != NOWHERE:
                self._put(group, split)
        queue = [(self.left[number], number) for number in self.classes]
        heapify(queue)
        while queue:
            left, number = heappop(queue)
            if left == self.left[number]:
                self._serve(number)
            elif self.left[number]:
                heappush(queue, (self.left[number], number))
        free = [group for group, split in enumerate(fixed) if split == NOWHERE]
        self._cover(free)
        self._improve([group for group in free if len(self.inside[group]) > 2])
        return np.array(self.place, dtype=int)

    def _serve(self, number: int) -> None:
        """Place all groups of a class that have no place yet."""
        free = [(group, photos) for group, photos in self.members[number] if self.place[group] == NOWHERE]
        quota = self._quota(number, len(free))
        # Groups of like size are in the order that the seed draws
        for group, _ in sorted(free, key=lambda each: (-each[1].bit_length(), self.order[each[0]], each[0])):
            split = max((split for split in SERVED if quota[split]), key=lambda split: self._gain(group, split))
            quota[split] -= 1
            self._put(group, split)

    def _quota(self, number: int, free: int) -> list[int]:
        """How many of its free groups a class gives each split: one where it has none, the rest where most lacks."""
        quota = [0, 0, 0]
        for split in self.served:
            if not self.have[number][split] and sum(quota) < free:
                quota[split] += 1
        lack = [self.lack[number][split] - quota[split] for split in range(3)]
        for _ in range(free - sum(quota)):
            split = max(self.served, key=lambda each: (lack[each], self.lack[-1][each] - quota[each]))
            quota[split] += 1
            lack[split] -= 1
        return quota

    def _gain(self, group: int, split: int) -> float:
        """By how much the squared distance to the targets shrinks, over classes, in shares of groups and of photos.

        Distances are divided by a split's share, so that splits fill at the same pace.
        """
        gain = 0.0
        for number, photos in self.inside[group]:
            groups, all_photos = len(self.members[number]), self.photos[number]
            gain += (2 * self.lack[number][split] - 1) / groups
            gain += (2 * self.lack_photos[number][split] - photos) * photos * groups / all_photos**2
        return gain / max(self.share[split], 1e-9)

    def _put(self, group: int, split: int) -> None:
        before = self.place[group]
        self.place[group] = split
        for where, sign in ((before, 1), (split, -1)):
            if where == NOWHERE:
                for number, _ in self.inside[group]:
                    self.left[number] -= sign
                continue
            for number, photos in self.inside[group]:
                self.have[number][where] -= sign
                self.lack[number][where] += sign
                self.lack_photos[number][where] += sign * photos

    def _cover(self, free: Sequence[int]) -> None:
        """Move groups in `free` until each class has a group in every split that its groups suffice for.

        Minimising conflicts (Minton et al. 1992): a class that lacks a split is drawn and takes the group there whose
        move takes least from others; the best state seen is kept.
        """
        movable, random = set(free), Random(min(self.order, default=0))
        moved_at: dict[int, int] = {}
        best, best_place, step, since = self._unmet(movable), list(self.place), 0, 0
        unmet = best
        while unmet and since < PATIENCE:
            number, split = random.choice(unmet)
            ready = [
                group
                for group, _ in self.members[number]
                if group in movable and self.place[group] != split and moved_at.get(group, -TABU) <= step - TABU
            ]
            step, since = step + 1, since + 1
            if not ready:
                continue
            chosen = min(ready, key=lambda group: (self._harm(group), -self._gain(group, split), self.order[group]))
            moved_at[chosen] = step
            self._put(chosen, split)
            unmet = self._unmet(movable)
            if self._severity(unmet) < self._severity(best):
                best, best_place, since = unmet, list(self.place), 0
        for group in free:
            if self.place[group] != best_place[group]:
                self._put(group, best_place[group])

    def _unmet(self, movable: set[int]) -> list[tuple[int, int]]:
        """Classes and the splits that they need, lack and have a group to move to."""
        return [
            (number, split)
            for number in self.classes
            if 0 in self.have[number]
            for split in self.served[: len(self.members[number])]
            if not self.have[number][split] and any(group in movable for group, _ in self.members[number])
        ]

    def _harm(self, group: int) -> tuple[int, int, int]:
        """What a group's leaving would cost: the severity of the needs of which it is the only one to meet them."""
        held = self.place[group]
        return self._severity(
            [
                (number, held)
                for number, _ in self.inside[group]
                if self.have[number][held] == 1 and self._needs(number, held)
            ]
        )

    def _severity(self, unmet: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
        """How many classes cannot be learnt, how many of those with groups for all splits lack one, and the rest."""
        untrained = sum(split == TRAIN for _, split in unmet)
        avoidable = sum(len(self.members[number]) >= len(self.served) for number, _ in unmet)
        return (untrained, avoidable, len(unmet))

    def _improve(self, free: Sequence[int]) -> None:
        """Move groups of several classes, one at a time, as long as that brings the classes closer to their shares."""
        for _ in range(SWEEPS):
            moved = False
            for group in sorted(free, key=lambda each: (self.order[each], each)):
                held = self.place[group]
                if not self._can_spare(group):
                    continue
                self._put(group, NOWHERE)
                best = max(self.served, key=lambda split: (self._gain(group, split), split == held))
                self._put(group, best)
                moved |= best != held
            if not moved:
                break

    def _needs(self, number: int, split: int) -> bool:
        return number in self.classes and split in self.served[: len(self.members[number])]

    def _can_spare(self, group: int) -> bool:
        """Whether no class loses the only group that it has and needs in the split that `group` would leave."""
        return self._harm(group) == (0, 0, 0)
