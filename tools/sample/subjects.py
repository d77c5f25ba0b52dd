"""One function a kind of organism: species traits and an individual's own variation → shapes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tools.sample.pen import Pen, colour, rotation

Traits = dict[str, Any]
HUE_VARIES = 0.018  # standard deviation between individuals: wider than what the hard pairs differ by


def flower(pen: Pen, traits: Traits, rng: np.random.Generator) -> None:
    """Petals around a centre, on a stem."""
    hue = traits["hue"] + rng.normal(0, HUE_VARIES)
    green = colour(rng.normal(0.30, 0.03), 0.6, rng.uniform(0.35, 0.6))
    bend = rng.uniform(-0.5, 0.5)
    pen.line([(0, 0), (bend * 0.4, 0.9), (bend, 2.2)], 0.07, green)
    for side in (-1, 1):
        if rng.random() < 0.7:
            pen.ellipse(bend * 0.5 + side * 0.35, rng.uniform(1.1, 1.5), 0.4, 0.13, green, turn=side * -0.5)
    length, width = rng.uniform(0.82, 1.0), traits["width"] * rng.uniform(0.9, 1.1)
    bright, pointed = rng.uniform(0.75, 1.0), rng.uniform(0.5, 0.9)
    for petal in range(traits["petals"]):
        angle = 2 * np.pi * (petal + rng.normal(0, 0.05)) / traits["petals"]
        reach = length * rng.normal(1, 0.05)
        outline = np.array([(0, 0), (width * 0.8, -0.35), (width, -0.65), (width * pointed * 0.7, -0.92), (0, -1)])
        outline = np.concatenate([outline, outline[::-1] * (-1, 1)]) * (1, reach)
        shade = bright * rng.normal(1, 0.04)
        pen.polygon(outline @ rotation(angle).T, colour(hue, 0.75, shade * 0.8))
        pen.polygon(outline @ rotation(angle).T * 0.93, colour(hue, 0.7, shade))
        pen.polygon(outline @ rotation(angle).T * (0.5, 0.5), colour(traits["inner"], 0.85, shade * 0.85))
    radius = traits["centre"] * rng.uniform(0.9, 1.1)
    pen.ellipse(0, 0, radius, radius, colour(0.12, 0.9, 0.55))
    for _ in range(14):
        angle, distance = rng.uniform(0, 2 * np.pi), radius * 0.8 * np.sqrt(rng.random())
        pen.ellipse(distance * np.cos(angle), distance * np.sin(angle), 0.03, 0.03, colour(0.13, 0.8, 0.85))


def leaf(pen: Pen, traits: Traits, rng: np.random.Generator) -> None:
    """A lobed leaf with veins and holes, some of it turned to autumn."""
    hue = traits["hue"] + rng.normal(0, HUE_VARIES * 1.5) - (0.12 * rng.random() if rng.random() < 0.3 else 0)
    value, lobes = rng.uniform(0.4, 0.75), traits["lobes"]
    depth = np.clip(traits["depth"] * rng.normal(1, 0.1), 0, 0.75)
    angles = np.linspace(-np.pi, np.pi, 240, endpoint=False)  # 0 points up, the stalk is at ±π
    phase = (angles / np.pi * 0.85 + 1) / 2 * lobes
    lobe = np.abs(np.cos(np.pi * phase)) if lobes % 2 == 0 else np.abs(np.sin(np.pi * phase))
    radius = (1 - depth * (1 - lobe**0.8)) * (0.72 + 0.28 * np.cos(angles)) * (1 + rng.normal(0, 0.015, 240))
    outline = np.stack([np.sin(angles) * radius, -np.cos(angles) * radius * traits["aspect"]], axis=1)
    pen.line([(0, 0.1), (rng.uniform(-0.2, 0.2), 0.9), (rng.uniform(-0.4, 0.4), 1.4)], 0.05, colour(0.1, 0.5, 0.4))
    pen.polygon(outline, colour(hue, 0.75, value * 0.8))
    pen.polygon(outline * 0.97, colour(hue, 0.7, value))
    vein = colour(hue - 0.02, 0.45, min(1, value * 1.35))
    for number in range(traits["veins"]):
        angle = (number - (traits["veins"] - 1) / 2) / max(1, traits["veins"]) * 1.7 * np.pi
        reach = 0.75 * (1 - depth * 0.35) * (0.72 + 0.28 * np.cos(angle))
        pen.line([(0, 0.12), (np.sin(angle) * reach, -np.cos(angle) * reach * traits["aspect"])], 0.022, vein)
    for _ in range(rng.poisson(1.2)):
        x, y = rng.uniform(-0.5, 0.5, 2)
        across, down = rng.uniform(0.02, 0.07, 2)
        pen.ellipse(x, y, across, down, colour(0.09, 0.6, 0.3))


def fern(pen: Pen, traits: Traits, rng: np.random.Generator) -> None:
    """A frond: leaflets on both sides of a bent stalk."""
    hue, value = traits["hue"] + rng.normal(0, HUE_VARIES), rng.uniform(0.35, 0.7)
    along = np.linspace(1.1, -1.1, traits["leaflets"] + 2)
    bend = rng.uniform(-0.5, 0.5)
    stalk = np.stack([bend * ((along + 1.1) / 2.2 - 0.5) ** 2 * 2, along], axis=1)
    pen.line(np.concatenate([[(stalk[0, 0], 1.6)], stalk]), 0.045, colour(hue - 0.05, 0.6, value * 0.7))
    for number in range(traits["leaflets"]):
        x, y = stalk[number + 1]
        share = number / max(1, traits["leaflets"] - 1)
        length = traits["length"] * (1 - traits["taper"] * share**1.5) * rng.normal(1, 0.06) * 2 + 0.06
        for side in (-1, 1):
            angle = side * rng.normal(1.15, 0.07)
            tip = np.array([np.sin(angle), -np.cos(angle)]) * length
            normal = np.array([tip[1], -tip[0]]) * 0.16
            middle = np.array([x, y]) + tip * 0.45
            pen.polygon(
                np.array([(x, y), middle + normal, np.array([x, y]) + tip, middle - normal]),
                colour(hue + rng.normal(0, 0.008), 0.7, value * rng.normal(1, 0.08)),
            )


def butterfly(pen: Pen, traits: Traits, rng: np.random.Generator) -> None:
    """Two pairs of wings, folded by some degree, with a mark on the forewing."""
    hue, value = traits["hue"] + rng.normal(0, HUE_VARIES), rng.uniform(0.6, 0.95)
    fold, border = rng.uniform(0.55, 1.0), colour(traits["border"], 0.6, rng.uniform(0.12, 0.28))
    base, pale = colour(hue, 0.8, value), colour(hue + 0.03, 0.45, min(1, value * 1.15))
    fore = np.array([(0.05, -0.1), (0.55, -0.85), (1.0, -0.95), (1.05, -0.6), (0.75, -0.1), (0.3, 0.05)])
    tail = traits["tail"] * rng.uniform(0.8, 1.2)
    hind = np.array([(0.05, 0.0), (0.7, -0.02), (0.85, 0.3), (0.6, 0.65 + tail), (0.3, 0.6), (0.08, 0.3)])
    size = rng.uniform(0.85, 1.1)
    for side in (-1, 1):
        mirror = np.array([side * fold * rng.uniform(0.93, 1.0), 1.0])
        for wing in (hind, fore):
            middle = wing.mean(axis=0)
            pen.polygon(wing * mirror, border)
            pen.polygon(((wing - middle) * 0.84 + middle) * mirror, base)
            pen.polygon(((wing - middle) * 0.4 + middle) * mirror, pale)
        x, y = (0.78 * mirror[0], -0.68)
        dark, white = colour(traits["border"], 0.5, 0.1), colour(0.13, 0.1, 0.97)
        mark = 0.125 * size
        if traits["mark"] in ("ring", "spot", "two"):
            pen.ellipse(x, y, mark * fold, mark, dark)
        if traits["mark"] == "ring":
            pen.ellipse(x, y, mark * 0.62 * fold, mark * 0.62, white)
            pen.ellipse(x, y, mark * 0.3 * fold, mark * 0.3, dark)
        elif traits["mark"] == "spot":
            pen.ellipse(x, y, mark * 0.36 * fold, mark * 0.36, white)
        elif traits["mark"] == "two":
            pen.ellipse(0.55 * mirror[0], 0.3, mark, mark, dark)
        elif traits["mark"] == "bar":
            pen.line([(0.45 * mirror[0], -0.7), (0.85 * mirror[0], -0.25)], 0.1, white)
    pen.ellipse(0, 0.05, 0.07, 0.5, border)
    pen.ellipse(0, -0.48, 0.075, 0.085, border)
    for side in (-1, 1):
        pen.line([(0, -0.5), (side * 0.12, -0.75), (side * rng.uniform(0.22, 0.4), -0.98)], 0.018, border)


def beetle(pen: Pen, traits: Traits, rng: np.random.Generator) -> None:
    """Wing cases with spots or stripes, a head, six legs."""
    hue, value = traits["hue"] + rng.normal(0, HUE_VARIES), rng.uniform(0.6, 0.95)
    black = colour(0.6, 0.3, rng.uniform(0.05, 0.15))
    long, wide = 0.62 * traits["length"] * rng.normal(1, 0.04), 0.6 * rng.normal(1, 0.04)
    for side in (-1, 1):
        for leg in (-0.35, 0.05, 0.45):
            knee = (side * (wide + rng.uniform(0.12, 0.25)), leg * long + rng.uniform(-0.15, 0.1))
            foot = (side * (wide + rng.uniform(0.3, 0.45)), leg * long + rng.uniform(0.05, 0.35))
            pen.line([(side * wide * 0.6, leg * long), knee, foot], 0.05, black)
        pen.line([(side * 0.1, -long - 0.25), (side * rng.uniform(0.25, 0.45), -long - 0.55)], 0.03, black)
    pen.ellipse(0, -long - 0.08, wide * 0.5, 0.24, black)
    pen.ellipse(0, 0, wide, long, colour(hue, 0.85, value * 0.75))
    pen.ellipse(0, 0, wide * 0.95, long * 0.96, colour(hue, 0.85, value))
    pen.ellipse(-wide * 0.3, -long * 0.4, wide * 0.2, long * 0.2, colour(hue, 0.5, min(1, value * 1.2)))
    pen.line([(0, -long), (0, long)], 0.03, black)
    pairs, radius = traits["spots"] // 2, rng.uniform(0.1, 0.135)
    for pair in range(pairs):
        y = (pair - (pairs - 1) / 2) * 1.3 * long / max(pairs, 2)
        for side in (-1, 1):
            jitter = rng.normal(0, 0.02, 2)
            x = side * wide * 0.5 * np.sqrt(max(0.2, 1 - (y / long) ** 2))
            pen.ellipse(x + jitter[0], y + jitter[1], radius, radius * 1.1, black)
    for stripe in range(traits["stripes"]):
        for side in (-1, 1):
            x = side * wide * (stripe + 0.7) / (traits["stripes"] + 0.8)
            reach = long * 0.8 * np.sqrt(max(0.1, 1 - (x / wide) ** 2))
            pen.line([(x, -reach), (x, reach)], 0.07, black)


def fish(pen: Pen, traits: Traits, rng: np.random.Generator) -> None:
    """A body with upright bars, fins and a forked tail."""
    hue, value = traits["hue"] + rng.normal(0, HUE_VARIES), rng.uniform(0.5, 0.9)
    depth, side = traits["depth"] * rng.normal(1, 0.06), 1 if rng.random() < 0.5 else -1
    flip = np.array([side, 1.0])
    along = np.linspace(-0.95, 0.75, 30)
    half = depth * np.sqrt(np.clip(1 - ((along + 0.1) / 0.9) ** 2, 0, 1)) * 0.95 + 0.05
    fin, base = colour(hue - 0.05, 0.5, value * 0.75), colour(hue, 0.6, value)
    fork = traits["fork"] * rng.uniform(0.85, 1.15)
    pen.polygon(np.array([(0.65, 0), (1.15, -0.4), (1.15 - fork, 0), (1.15, 0.4)]) * flip, fin)
    height = depth + rng.uniform(0.12, 0.25)
    pen.polygon(np.array([(-0.4, -depth * 0.8), (-0.1, -height), (0.4, -depth * 0.6)]) * flip, fin)
    pen.polygon(np.array([(-0.1, depth * 0.8), (0.15, height), (0.35, depth * 0.6)]) * flip, fin)
    outline = np.concatenate([np.stack([along, -half], 1), np.stack([along[::-1], half[::-1]], 1)])
    pen.polygon(outline * flip, base)
    belly = np.concatenate([np.stack([along, half * 0.35], 1), np.stack([along[::-1], half[::-1] * 0.93], 1)])
    pen.polygon(belly * flip, colour(hue, 0.25, min(1, value * 1.25)))
    dark = colour(hue + 0.03, 0.7, value * 0.35)
    for bar in range(traits["bars"]):
        x = -0.4 + 0.95 * (bar + 0.5) / traits["bars"] + rng.normal(0, 0.015)
        reach = depth * np.sqrt(max(0.05, 1 - ((x + 0.1) / 0.9) ** 2)) * 0.9
        lean = rng.normal(0, 0.03)
        pen.line(np.array([(x - lean, -reach), (x + lean, reach * rng.uniform(0.5, 0.9))]) * flip, 0.085, dark)
    pen.ellipse(-0.72 * side, -depth * 0.18, 0.075, 0.075, colour(0.14, 0.2, 0.95))
    pen.ellipse(-0.73 * side, -depth * 0.18, 0.04, 0.04, colour(0, 0, 0.05))
    pen.polygon(np.array([(-0.35, 0.05), (-0.05, depth * 0.55), (-0.02, 0.08)]) * flip, fin)


KINDS: dict[str, Callable[[Pen, Traits, np.random.Generator], None]] = {
    "flower": flower,
    "leaf": leaf,
    "fern": fern,
    "butterfly": butterfly,
    "beetle": beetle,
    "fish": fish,
}
