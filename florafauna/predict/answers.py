"""Logits → the answer for a photo: the likeliest labels, calibrated confidences, whether accepted, the taxon.

A photo is accepted, True or False, only where validation could promise the precision; else that is None.
"""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from florafauna.base.errors import UserError
from florafauna.predict._part import Row
from florafauna.scores.calibration import softmax
from florafauna.scores.ranks import levels, roll_up

DIGITS = 6
STORED = "<f4"  # of logits in rows


@dataclass(frozen=True)
class Answers:
    """Turns logits into answers with a calibration; `least` is the threshold of each class, inf if it has none."""

    labels: list[str]
    temperature: float
    sentence: str  # what validation promises of the photos that are accepted, or why nothing
    least: np.ndarray
    ranks: list[str]  # of a roll-up, the finest first
    ancestors: list[dict[str, str]] | None
    roll_up_threshold: float | None
    top: int
    keep_logits: bool = False  # in the rows, for the answers of events

    @classmethod
    def of_bundle(cls, info: dict[str, Any], top: int, keep_logits: bool = False) -> "Answers":
        """From the `calibration` (temperature, thresholds) and `taxonomy` (label → rank → name) of bundle.json.

        The global threshold applies to all classes but those that have one of their own; a class whose own is null is
        never accepted. Without any threshold there is no promise.
        """
        labels = list(info["labels"])
        thresholds = info["calibration"]["thresholds"]
        given = [thresholds["per_class"].get(label, thresholds["global"]) for label in labels]
        least = np.array([np.inf if value is None else value for value in given], dtype=np.float64)
        ranks, ancestors = levels(labels, [info["taxonomy"].get(label, {}) for label in labels])
        return cls(
            labels,
            float(info["calibration"]["temperature"]),
            thresholds["sentence"],
            least,
            ranks,
            ancestors if len(ranks) > 1 else None,
            thresholds["roll_up"],
            min(top, len(labels)),
            keep_logits,
        )

    @property
    def remark(self) -> str | None:
        """What the user should know about the answers, if anything."""
        return None if self.promised else f"`accepted` is empty and `label` the likeliest class: {self.sentence}"

    @property
    def promised(self) -> bool:
        """Whether there is a threshold, and so a promise of what the accepted photos' precision is."""
        return bool(np.isfinite(self.least).any())

    @property
    def kept(self) -> dict[str, Any]:
        """The options that rows depend on."""
        return {"top": self.top, "logits": self.keep_logits}

    def rows(self, logits: np.ndarray) -> list[Row]:
        """One row per photo: top (class indices), confidences, whether the first is accepted (None: no promise), taxon.

        `UserError` if the logits, float32 (photos, classes), are not finite.
        """
        if not np.isfinite(logits).all():
            raise UserError(
                "the model's outputs are NaN or infinite, so its weights are damaged; fetch the bundle again."
            )
        probabilities = softmax(logits, self.temperature)
        # stable: equal confidences keep the order of the classes
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top]
        taxa = self._taxa(probabilities)
        rows: list[Row] = []
        for number, best in enumerate(order):
            confidences = probabilities[number, best]
            accepted = bool(confidences[0] >= self.least[best[0]]) if self.promised else None
            rows.append(
                {"top": best.tolist(), "confidences": confidences.round(DIGITS).tolist(), "accepted": accepted}
                | ({"taxon": taxa[number]} if taxa[number] is not None else {})
                | ({"logits": _packed(logits[number])} if self.keep_logits else {})
            )
        return rows

    def _taxa(self, probabilities: np.ndarray) -> list[list[Any] | None]:
        """Rank, name and summed confidence of the finest taxon that reaches the threshold."""
        if self.ancestors is None or self.roll_up_threshold is None:
            return [None] * len(probabilities)
        found = roll_up(probabilities, self.ancestors, self.ranks, self.roll_up_threshold)
        return [
            None if each.taxon is None else [each.rank, each.taxon, round(each.probability, DIGITS)] for each in found
        ]


def _packed(logits: np.ndarray) -> str:
    return base64.b64encode(logits.astype(STORED).tobytes()).decode()


def logits_of(row: Row) -> np.ndarray | None:
    """The logits, float32 (classes,), that a row keeps; None if the model has not seen it."""
    return np.frombuffer(base64.b64decode(row["logits"]), dtype=STORED) if "logits" in row else None
