"""What was found, in words: of each pair of models, and of the best model against all others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from florafauna.compare._power import Collection

BETTER, SAME, UNDECIDED = "better", "practically the same", "not distinguishable"
Cost = tuple[float, ...]  # orders models from cheap to dear


@dataclass(frozen=True)
class ModelPair:
    """Two models, the one that scores higher on the test photos first, and their difference in weighted F1.

    `low` and `high` bound the difference. `p` is that of the exact test (or of the difference over training seeds, if
    larger), `p_same` that of a difference within the margin; with `_holm` they are corrected for the number of pairs.
    `finding` is `BETTER` (the first), `SAME` or `UNDECIDED`. `smallest_difference` is what the test shows with a power
    of 80 %, `more_photos` the range to collect until that is the margin (None: not known, or photos cannot help).
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_same: float
    p_same_holm: float
    finding: str
    smallest_difference: float
    more_photos: tuple[int, int] | None
    sentence: str = ""

    def other(self, name: str) -> str:
        """The other model of the two."""
        return self.second if name == self.first else self.first


@dataclass(frozen=True)
class Comparison:
    """All pairs of models, the best model, whether it is better than all others, and what to make of it in words."""

    pairs: list[ModelPair]
    best: str
    best_is_better: bool
    headline: str
    notes: list[str]

    @property
    def verdict(self) -> str:
        """All in one text without a full stop at its end."""
        return ". ".join([self.headline, *self.notes])


@dataclass(frozen=True)
class Circumstances:
    """What sentences name beside the models: photos and what these are called, margin, what was collected, costs.

    `once` are the models that were trained with one seed.
    """

    photos: int
    called: str
    margin: float
    costs: Mapping[str, Cost]
    once: Sequence[str]
    collection: Collection | None


def sentence(pair: ModelPair, given: Circumstances) -> str:
    """One pair in words."""
    first, second = pair.first, pair.second
    if pair.finding == BETTER:
        return f"{first} is better than {second} {_by(pair)}"
    if pair.finding == SAME:
        return f"{first} and {second} are practically the same, {_within(given)}{_take([first, second], given)}"
    unlike = f"{first} and {second} are not distinguishable on {given.photos:,} {given.called}"
    return "; ".join([f"{unlike}, which {_could_show([pair])}", *_to_collect([pair], given)])


def verdict(models: Sequence[str], pairs: Sequence[ModelPair], given: Circumstances) -> Comparison:
    """The comparison; the first model is the best, `pairs` may hold others than `models`."""
    best = models[0]
    of_best = [pair for pair in pairs if best in (pair.first, pair.second)]
    found = {pair.other(best): pair for pair in of_best if pair.other(best) in models}

    def named(finding: str, ahead: Callable[[ModelPair], bool] = lambda _: True) -> list[str]:
        return [name for name, pair in found.items() if pair.finding == finding and ahead(pair)]

    beaten = named(BETTER, lambda pair: pair.first == best)
    ahead = named(BETTER, lambda pair: pair.first != best)
    same, alike = named(SAME), named(UNDECIDED)
    notes = []
    if not found:
        headline = f"{best} is the only model"
    elif len(beaten) == len(found) == 1:
        headline = found[beaten[0]].sentence
    elif len(beaten) == len(found):
        leads = _and([f"{_by(found[name])} over {name}" for name in beaten])
        headline = f"{best} is the best of {len(found) + 1} models: {leads}"
    else:
        says = [f"worse than {name} {_by(found[name])}" for name in ahead]
        says += [f"better than {_and(beaten)}"] if beaten else []
        says += [f"practically the same as {_and(same)}, {_within(given)},"] if same else []
        says += [f"not distinguishable from {_and(alike)} on {given.photos:,} {given.called}"] if alike else []
        headline = f"{best}, chosen on the validation photos, is {_and(says).rstrip(',')}"
        headline += _take([best, *same], given) if same and not ahead else ""
    if alike:
        unclear = [found[name] for name in alike]
        notes.append("; ".join([f"They {_could_show(unclear)}", *_to_collect(unclear, given)]))
    notes += _scope(models, given)
    return Comparison(list(pairs), best, bool(found) and len(beaten) == len(found), headline, notes)


def _scope(models: Sequence[str], given: Circumstances) -> list[str]:
    """What models that were trained once do not tell."""
    if not given.once:
        return []
    if len(given.once) == 1:
        return [f"{given.once[0]} was trained once, so this is about its checkpoint, not about its recipe"]
    who = "Each model was" if len(given.once) == len(models) else f"{_and(given.once)} were each"
    return [f"{who} trained once, so this is about these checkpoints, not about the recipes"]


def _could_show(pairs: Sequence[ModelPair]) -> str:
    return f"could have shown a difference of {_points(max(pair.smallest_difference for pair in pairs))}"


def _to_collect(pairs: Sequence[ModelPair], given: Circumstances) -> list[str]:
    """The photos to collect, if that is known and any are needed."""
    if given.collection is None:
        return []
    ranges = [pair.more_photos for pair in pairs]
    known = [each for each in ranges if each is not None]
    if len(known) < len(ranges):
        return [f"no number of photos would show {_points(given.margin)}, because scores vary more between seeds"]
    fewest, most = (max(bounds) for bounds in zip(*known, strict=True))
    if most == 0:
        return []
    number = f"{fewest:,} to {most:,}" if fewest else f"up to {most:,}"
    share = f"{100 * given.collection.share:.0f} %"
    return [f"to show {_points(given.margin)}, collect {number} more photos in all, of which {share} are test photos"]


def _take(names: Sequence[str], given: Circumstances) -> str:
    """Which of models that are practically the same to take; "" where their costs are not known."""
    cheapest = min(names, key=lambda name: given.costs[name])
    if not given.costs[cheapest]:
        return ""
    if all(given.costs[name] == given.costs[cheapest] for name in names):
        return f": take {'either' if len(names) == 2 else 'any'}, they cost the same"
    return f": take {cheapest}, the {'cheaper' if len(names) == 2 else 'cheapest'}"


def _within(given: Circumstances) -> str:
    return f"within {_points(given.margin)}"


def _by(pair: ModelPair) -> str:
    return f"by {_points(pair.difference)} ({_number(pair.low)} to {_number(pair.high)})"


def _points(share: float) -> str:
    """Hundredths: 0.1 points, 1 point."""
    number = f"{100 * share:.1f}".replace("-0.0", "0.0")
    return "1 point" if number == "1.0" else f"{number} points"


def _number(share: float) -> str:
    return f"{100 * share:.1f}".replace("-0.0", "0.0")


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
