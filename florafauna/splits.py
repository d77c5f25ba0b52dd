"""Groups → train, val, test. A group's place is a hash of its name, so that other photos cannot move it.

A place that no other group can change is a pure function of the group's own name: shares are then those of independent
draws (20 % of 50 groups: 10 ± 2.8). Only a class that lacks photos in a split makes an exception: it is given the group
that changes least, rare classes first. What the groups cannot give is a waiver, listed by class.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from florafauna.randomness import rng_key

SPLITS = ("train", "val", "test")
SERVED = ("train", "test", "val")  # what a class needs first: something to learn from, then something to be tested on


@dataclass(frozen=True)
class Assignment:
    """The split of every photo, and for each class that has too few groups the splits it got."""

    split: pd.Series
    waivers: dict[str, tuple[str, ...]]


def assign(
    labels: pd.Series, keys: pd.Series, val: float, test: float, seed: int, given: pd.Series | None = None
) -> Assignment:
    """Split photos by group. `keys` names each photo's group; `val` and `test` are shares of the groups.

    `given` has the splits that are already decided ("" elsewhere); a group with one follows it, test before val before
    train. Equal arguments give equal splits whatever the order of the rows.
    """
    groups = pd.Index(sorted(keys.unique()))
    place = {key: _place(key, val, test, seed) for key in groups}
    fixed: set[str] = set()
    if given is not None:
        for split in SPLITS:  # the last wins
            decided = keys[given == split].unique()
            place.update(dict.fromkeys(decided, split))
            fixed.update(decided)
    waivers = _serve_classes(labels, keys, place, fixed, seed)
    return Assignment(keys.map(place), waivers)


def uniform(seed: int, name: str) -> float:
    """A number in [0, 1) that depends on the seed and the name alone."""
    return rng_key(seed, 0, f"split {name}") / 2**63


def crossing(split: pd.Series, keys: pd.Series) -> list[str]:
    """The groups that lie in more than one split."""
    counts = split.groupby(keys).nunique()
    return sorted(counts.index[counts > 1])


def _place(key: str, val: float, test: float, seed: int) -> str:
    number = uniform(seed, key)
    return "test" if number < test else "val" if number < test + val else "train"


def _serve_classes(
    labels: pd.Series, keys: pd.Series, place: dict[str, str], fixed: set[str], seed: int
) -> dict[str, tuple[str, ...]]:
    """Move whole groups, in `place`, until every class has a group in each split that it can fill."""
    members: dict[str, dict[str, int]] = {}  # label → group → photos
    inside: dict[str, list[str]] = {}  # group → labels
    for (label, group), photos in sorted(Counter(zip(labels, keys, strict=True)).items()):
        members.setdefault(label, {})[group] = photos
        inside.setdefault(group, []).append(label)
    needs: dict[str, tuple[str, ...]] = {}
    waivers = {}
    for label in sorted(members, key=lambda name: (len(members[name]), name)):
        groups = members[label]
        needs[label] = ()
        for split in SERVED[: len(groups)]:
            needs[label] += (split,)
            if split not in {place[group] for group in groups}:
                candidates = sorted(groups.keys() - fixed, key=lambda name: (groups[name], uniform(seed, name), name))
                chosen = next((name for name in candidates if _can_spare(name, inside, members, needs, place)), None)
                if chosen is not None:
                    place[chosen] = split
        got = {place[group] for group in groups}
        if len(got) < len(SPLITS):
            waivers[label] = tuple(split for split in SPLITS if split in got)
    return waivers


def _can_spare(
    group: str,
    inside: dict[str, list[str]],
    members: dict[str, dict[str, int]],
    needs: dict[str, tuple[str, ...]],
    place: dict[str, str],
) -> bool:
    """Whether no class that was served is left without a group in the split that `group` would leave."""
    held = place[group]
    return all(
        held not in needs.get(label, ()) or sum(place[peer] == held for peer in members[label]) > 1
        for label in inside[group]
    )


def shares(split: pd.Series) -> dict[str, float]:
    """The share of photos in each split."""
    return {name: float(np.mean(split == name)) for name in SPLITS}
