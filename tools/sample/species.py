"""What tells one drawn species from another, as data; `kind` names the function in `subjects` that draws it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Species:
    """A species: hues in turns (0 red, 1/3 green, 2/3 blue), the rest in units of the subject's size or counts."""

    name: str
    kind: str
    traits: dict[str, Any] = field(default_factory=dict)


# Hard pairs: two butterflies that differ in the mark on the forewing and a little in hue, two beetles by spots, two
# fish by bars, two flowers by petals, two maples by lobes. Hues in a pair differ by about two standard deviations.
SAMPLE = (
    Species("amber_fivestar", "flower", {"petals": 5, "width": 0.34, "hue": 0.10, "inner": 0.06, "centre": 0.25}),
    Species("amber_sevenstar", "flower", {"petals": 7, "width": 0.28, "hue": 0.14, "inner": 0.10, "centre": 0.27}),
    Species("violet_aster", "flower", {"petals": 15, "width": 0.13, "hue": 0.77, "inner": 0.80, "centre": 0.30}),
    Species("creek_maple", "leaf", {"lobes": 5, "depth": 0.55, "aspect": 1.0, "hue": 0.26, "veins": 5}),
    Species("ridge_maple", "leaf", {"lobes": 9, "depth": 0.45, "aspect": 1.15, "hue": 0.21, "veins": 9}),
    Species("ladder_fern", "fern", {"leaflets": 15, "length": 0.36, "taper": 0.8, "hue": 0.31}),
    Species("ringed_duskwing", "butterfly", {"hue": 0.04, "border": 0.03, "mark": "ring", "tail": 0.0}),
    Species("barred_duskwing", "butterfly", {"hue": 0.08, "border": 0.03, "mark": "bar", "tail": 0.1}),
    Species("four_spot_leaf_beetle", "beetle", {"hue": 0.00, "spots": 4, "length": 1.15, "stripes": 0}),
    Species("six_spot_leaf_beetle", "beetle", {"hue": 0.04, "spots": 6, "length": 1.35, "stripes": 0}),
    Species("three_bar_darter", "fish", {"hue": 0.56, "bars": 3, "depth": 0.44, "fork": 0.3}),
    Species("five_bar_darter", "fish", {"hue": 0.52, "bars": 5, "depth": 0.37, "fork": 0.3}),
)


def others(count: int, seed: int) -> list[Species]:
    """Species with traits drawn at random, to pretrain on; none has the traits of a species of the sample."""
    rng = np.random.default_rng([seed, 1])
    kinds = ("flower", "leaf", "fern", "butterfly", "beetle", "fish")
    return [_random(f"other_{number:03d}", kinds[number % len(kinds)], rng) for number in range(count)]


def _random(name: str, kind: str, rng: np.random.Generator) -> Species:
    hue = float(rng.random())
    traits: dict[str, dict[str, Any]] = {
        "flower": {
            "petals": int(rng.integers(3, 18)),
            "width": float(rng.uniform(0.1, 0.4)),
            "hue": hue,
            "inner": (hue + float(rng.uniform(-0.15, 0.15))) % 1,
            "centre": float(rng.uniform(0.12, 0.4)),
        },
        "leaf": {
            "lobes": int(rng.integers(1, 11)),
            "depth": float(rng.uniform(0.1, 0.65)),
            "aspect": float(rng.uniform(0.6, 1.6)),
            "hue": float(rng.uniform(0.02, 0.4)),
            "veins": int(rng.integers(3, 11)),
        },
        "fern": {
            "leaflets": int(rng.integers(5, 24)),
            "length": float(rng.uniform(0.2, 0.55)),
            "taper": float(rng.uniform(0.2, 1.0)),
            "hue": float(rng.uniform(0.1, 0.45)),
        },
        "butterfly": {
            "hue": hue,
            "border": float(rng.random()),
            "mark": str(rng.choice(["ring", "spot", "bar", "none", "two"])),
            "tail": float(rng.uniform(0.0, 0.35)),
        },
        "beetle": {
            "hue": hue,
            "spots": int(rng.choice([0, 2, 8, 10, 12])),
            "length": float(rng.uniform(0.95, 1.8)),
            "stripes": int(rng.choice([0, 0, 1, 2, 3])),
        },
        "fish": {
            "hue": hue,
            "bars": int(rng.choice([0, 1, 2, 4, 6, 8])),
            "depth": float(rng.uniform(0.25, 0.65)),
            "fork": float(rng.uniform(0.05, 0.5)),
        },
    }
    return Species(name, kind, traits[kind])
