"""The geometry of plots: values → positions in an SVG of WIDTH × HEIGHT units, which the templates draw."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 14, 42  # room for the axes
LETTER = 6.3  # mean width of a letter of a label
LONGEST_NAME = 22  # letters of a model's name in a figure
SPEED = "Photos predicted per second"  # of which more is better, other than of costs
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` to positions from `start` to `end`."""

    title: str
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(each) if self.log else each for each in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions and labels of round values."""
        values = _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high)
        return [(self(value), short(value)) for value in values]


@dataclass(frozen=True)
class Line:
    """A series: number of its colour (and dashes), name, the path's `d`, and marked points with radius and title."""

    colour: int
    name: str
    path: str
    points: list[tuple[float, float, float, str]]
    quiet: bool = False


@dataclass(frozen=True)
class Label:
    """A text and where it starts."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Plot:
    """All that is drawn. `summary` says in words what the plot shows."""

    title: str
    summary: str
    x: Axis
    y: Axis
    lines: list[Line]
    labels: list[Label]
    diagonal: bool = False


@dataclass(frozen=True)
class Estimate:
    """A score with its interval; `source` says where in the metrics it is, so that a test can compare the two."""

    name: str
    value: float
    low: float
    high: float
    source: list[str]


@dataclass(frozen=True)
class Forest:
    """A forest plot: estimates with the positions of value, low and high, and ticks, in percent of the width."""

    rows: list[tuple[Estimate, tuple[float, float, float]]]
    ticks: list[tuple[float, str]]


def forest(estimates: Sequence[Estimate]) -> Forest:
    """The forest plot of scores between 0 and 1."""
    low, high = around([bound for each in estimates for bound in (each.low, each.high)], 0.1)
    axis = Axis("", max(0.0, low), min(1.0, high), 2, 98)
    return Forest([(each, (axis(each.value), axis(each.low), axis(each.high))) for each in estimates], axis.ticks)


def x_axis(title: str, low: float, high: float, log: bool = False) -> Axis:
    """An axis along the lower edge."""
    return Axis(title, low, high, LEFT, WIDTH - RIGHT, log)


def y_axis(title: str, low: float, high: float) -> Axis:
    """An axis along the left edge, upwards."""
    return Axis(title, low, high, HEIGHT - BOTTOM, TOP)


def path(x: Axis, y: Axis, points: Iterable[tuple[float, float]]) -> str:
    """The `d` of the line through points."""
    return " ".join(f"{'L' if number else 'M'}{x(a)} {y(b)}" for number, (a, b) in enumerate(points))


def around(values: Sequence[float], least: float = 0.0, floor: float | None = None) -> tuple[float, float]:
    """Limits with some room around finite values, at least `least` apart."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    room = max(0.08 * (high - low), (least - (high - low)) / 2, 1e-9)
    low, high = low - room, high + room
    return (low if floor is None else max(floor, low)), high


def log_around(values: Sequence[float]) -> tuple[float, float]:
    """Limits around positive values for a logarithmic axis, at least a factor of 4 apart."""
    low, high = min(values), max(values)
    room = max((high / low) ** 0.12, 2 / (high / low) ** 0.5, 1.15)
    return low / room, high * room


def pareto(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """The Pareto front: indices of the points that no other dominates in cost and score, sorted by cost.

    >>> pareto([1.0, 2.0, 3.0], [0.5, 0.4, 0.9])
    [0, 2]
    """
    front = []
    for at, (cost, score) in enumerate(zip(costs, scores, strict=True)):
        beaten = any(c <= cost and s >= score and (c < cost or s > score) for c, s in zip(costs, scores, strict=True))
        if not beaten:
            front.append(at)
    return sorted(front, key=lambda at: (costs[at], scores[at]))


def cost_plot(names: Sequence[str], scores: Sequence[float], score: str, title: str, values: Sequence[float]) -> Plot:
    """Scores against what they cost on a logarithmic axis, with the Pareto front."""
    values = [max(value, 1e-3) for value in values]  # a logarithm needs positive values
    x, y = x_axis(title, *log_around(values), log=True), y_axis(score, *around(scores, 0.05, 0.0))
    front = pareto([-value if title == SPEED else value for value in values], scores)
    line = Line(0, "Pareto front", path(x, y, [(values[at], scores[at]) for at in front]), [], quiet=True)
    places = [(x(value), y(each)) for value, each in zip(values, scores, strict=True)]
    marks = [
        Line(0 if at in front else -1, name, "", [(*places[at], 5.0, f"{name}: {values[at]:g}, {scores[at]:.3f}")])
        for at, name in enumerate(names)
    ]
    labels = place_labels(places, [brief(name) for name in names])
    summary = f"Pareto front: {', '.join(names[at] for at in front)}."
    return Plot(f"Score against {title[0].lower()}{title[1:]}", summary, x, y, [line, *marks], labels)


def place_labels(points: Sequence[tuple[float, float]], texts: Sequence[str]) -> list[Label]:
    """A label beside each point, where it hides neither a point nor a label; above everything if there is no room."""
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    labels = []
    for (x, y), text in zip(points, texts, strict=True):
        width = LETTER * len(text)
        places = [
            (x + 9, y + 4),
            (x - 9 - width, y + 4),
            *((min(max(x - width / 2, LEFT + 2), WIDTH - 2 - width), y + shift) for shift in (-10, 18, -22, 30)),
        ]
        free = [place for place in places if _inside(_box(place, width)) and _free(_box(place, width), taken)]
        left, base = (free or places[2:])[0]
        taken.append(_box((left, base), width))
        labels.append(Label(text, round(left, 1), round(base, 1)))
    return labels


def brief(name: str) -> str:
    """A name shortened to fit into a plot."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def sure(confidence: float) -> str:
    """A confidence in percent; never 100 %, since no model is that certain."""
    return "over 99 %" if confidence >= 0.995 else f"{100 * confidence:.0f} %"


def short(value: float) -> str:
    """The label of a tick: 0.25, 40, 2k, 5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{round(value, 10):g}"


def _box(place: tuple[float, float], width: float) -> Box:
    return place[0], place[1] - 10, place[0] + width, place[1] + 3


def _inside(box: Box) -> bool:
    return box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM


def _free(box: Box, taken: list[Box]) -> bool:
    return all(box[2] < other[0] or box[0] > other[2] or box[3] < other[1] or box[1] > other[3] for other in taken)


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    wide = math.log10(high / low) > 2.2
    steps = (1,) if wide else (1, 2, 5)
    values = [size * 10.0**decade for decade in decades for size in steps if low <= size * 10.0**decade <= high]
    return values[:: max(1, math.ceil(len(values) / 6))]
