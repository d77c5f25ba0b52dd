"""Logits → what is said of a photo: the likeliest labels, calibrated confidences, whether they suffice, the taxon."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from florafauna.errors import UserError
from florafauna.photos.taxonomy import RANKS
from florafauna.predict.part import Row
from florafauna.scores.calibration import softmax
from florafauna.scores.ranks import roll_up

DIGITS = 6


@dataclass(frozen=True)
class Answers:
    """The calibration of a bundle: `least` is the confidence each class needs (inf: never), None without thresholds."""

    labels: list[str]
    temperature: float
    calibrated: bool
    least: np.ndarray | None
    ancestors: list[dict[str, str]] | None
    roll_up_threshold: float | None
    top: int

    @classmethod
    def of_bundle(cls, info: dict[str, Any], top: int) -> "Answers":
        """From bundle.json: `calibration` (temperature, thresholds) and `taxonomy` (label → rank → name), if there.

        A class whose threshold is null is never accepted, as no threshold gave the wanted precision; a class without
        one of its own takes the global one.
        """
        labels = list(info["labels"])
        calibration = info.get("calibration") or {}
        thresholds = calibration.get("thresholds")
        temperature = calibration.get("temperature", 1.0)
        if not isinstance(temperature, int | float) or not temperature > 0:
            raise UserError(f"bundle.json has the temperature {temperature!r}; fetch the bundle again.")
        least, wanted = None, None
        if thresholds:
            wanted = thresholds.get("global")
            own = thresholds.get("per_class") or {}
            given = [own.get(label, wanted) for label in labels]
            least = np.array([np.inf if value is None else value for value in given], dtype=np.float64)
        taxonomy = info.get("taxonomy")
        ancestors = [dict(taxonomy.get(label, {})) for label in labels] if taxonomy else None
        return cls(labels, float(temperature), bool(calibration), least, ancestors, wanted, min(top, len(labels)))

    @property
    def remark(self) -> str | None:
        """What the user should know of the confidences."""
        if not self.calibrated:
            return "the bundle has no calibration: confidences are the plain softmax, `accepted` stays empty"
        return None if self.least is not None else "the bundle has no thresholds: `accepted` stays empty"

    def rows(self, logits: np.ndarray) -> list[Row]:
        """One row a photo: top (class indices), confidences, accepted (None without thresholds), taxon."""
        probabilities = softmax(logits, self.temperature)
        # stable: equal confidences keep the order of the classes
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top]
        taxa = self._taxa(probabilities)
        rows: list[Row] = []
        for number, best in enumerate(order):
            confidences = probabilities[number, best]
            accepted = None if self.least is None else bool(confidences[0] >= self.least[best[0]])
            rows.append(
                {"top": best.tolist(), "confidences": confidences.round(DIGITS).tolist(), "accepted": accepted}
                | ({"taxon": taxa[number]} if taxa[number] is not None else {})
            )
        return rows

    def _taxa(self, probabilities: np.ndarray) -> list[list[Any] | None]:
        """Rank, name and summed confidence of the finest taxon that is sure enough."""
        if self.ancestors is None or self.roll_up_threshold is None:
            return [None] * len(probabilities)
        found = roll_up(probabilities, self.ancestors, tuple(reversed(RANKS)), self.roll_up_threshold)
        return [
            None if each.taxon is None else [each.rank, each.taxon, round(each.probability, DIGITS)] for each in found
        ]
