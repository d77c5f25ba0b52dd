"""The plots of the report: score against cost, learning curves, reliability, risk against coverage."""

from collections.abc import Sequence

import numpy as np

from florafauna.compare._classifiers import Classifier, Model
from florafauna.compare.report import figures
from florafauna.compare.report._predicted import PredictedLabels
from florafauna.compare.report.figures import Line, Plot, x_axis, y_axis
from florafauna.scores.abstention import risk_coverage
from florafauna.scores.calibration import Bin, reliability, softmax

FIRST_PHOTOS, FIRST_SHARE = 10, 0.05  # where a risk-coverage curve begins: before, it is the noise of a few photos
MOST_POINTS = 200  # of a curve: more cannot be seen at this size


def cost_plots(classifiers: Sequence[Classifier]) -> list[Plot]:
    """Weighted F1 against parameters, training time and photos per second, each with its Pareto front."""
    names, scores = [each.name for each in classifiers], [each.weighted_f1 for each in classifiers]
    costs = {
        "Parameters": [float(each.cost.parameters) for each in classifiers],
        "Training time (s)": [each.cost.training_seconds for each in classifiers],
        figures.SPEED: [each.cost.photos_per_second for each in classifiers],
    }
    return [figures.cost_plot(names, scores, "Test weighted F1", title, values) for title, values in costs.items()]


def score_curves(models: Sequence[Model]) -> Plot:
    """Validation weighted F1 of all models after each epoch; the epoch of the checkpoint is marked."""
    longest = max(int(each.history["epoch"].max()) for each in models)
    scores = [float(score) for each in models for score in each.history["val_weighted_f1"]]
    x, y = _epochs(longest), y_axis("Validation weighted F1", *figures.around(scores, 0.05, 0.0))
    lines = []
    for number, each in enumerate(models):
        points = list(zip(each.history["epoch"], each.history["val_weighted_f1"], strict=True))
        best = max(points, key=lambda point: point[1])
        mark = (x(best[0]), y(best[1]), 4.0, f"{each.name}: best in epoch {best[0]}, {best[1]:.3f}")
        lines.append(Line(number, each.name, figures.path(x, y, _thin(points)), [mark]))
    best_of = "; ".join(
        f"{each.name} is best in epoch {int(each.history['epoch'].iloc[int(each.history['val_weighted_f1'].argmax())])}"
        f" of {int(each.history['epoch'].max())}"
        for each in models
    )
    return Plot("Validation score of all models", f"{best_of}.", x, y, lines, [])


def loss_curves(model: Model) -> Plot:
    """Training and validation loss of one model after each epoch."""
    history = model.history
    series = [("train", "train_loss"), ("validation", "val_loss")]
    values = [float(value) for _, column in series for value in history[column]]
    x, y = _epochs(int(history["epoch"].max())), y_axis("Loss", *figures.around(values, 0.05, 0.0))
    lines = [
        Line(number, name, figures.path(x, y, _thin(list(zip(history["epoch"], history[column], strict=True)))), [])
        for number, (name, column) in enumerate(series)
    ]
    last = history.iloc[-1]
    summary = f"After {int(last['epoch'])} epochs: training loss {last['train_loss']:.3f}, validation loss "
    return Plot(model.name, f"{summary}{last['val_loss']:.3f}.", x, y, lines, [])


def bins_of(classifier: Classifier) -> list[Bin]:
    """Test photos, binned by calibrated confidence."""
    test = classifier.predictions.part("test")
    return reliability(softmax(test.logits, classifier.temperature), test.targets)


def reliability_plot(classifier: Classifier, bins: Sequence[Bin]) -> Plot:
    """Accuracy against calibrated confidence; the area of a point is its number of photos."""
    x, y = x_axis("Confidence", 0, 1), y_axis("Accuracy", 0, 1)
    largest = max(each.photos for each in bins)
    points = [
        (
            x(each.confidence),
            y(each.accuracy),
            round(2 + 7 * (each.photos / largest) ** 0.5, 1),
            f"confidence {each.confidence:.3f}, accuracy {each.accuracy:.3f}, {each.photos} photos",
        )
        for each in bins
    ]
    gaps = " ".join(figures.path(x, y, [(b.confidence, b.confidence), (b.confidence, b.accuracy)]) for b in bins)
    error = classifier.details["calibration"]["ece"]
    summary = (
        f"Calibration error {error['after']:.3f}, {error['before']:.3f} before temperature scaling; a calibrated model "
        f"would show {error['calibrated_low']:.3f} to {error['calibrated_high']:.3f} on these photos."
    )
    return Plot(
        classifier.name,
        summary,
        x,
        y,
        [Line(0, "", gaps, [], quiet=True), Line(0, classifier.name, "", points)],
        [],
        True,
    )


def risk_plot(models: Sequence[PredictedLabels]) -> Plot:
    """Share of errors among the most confident photos against their share; the summary gives the areas under curves."""
    curves = {each.model: risk_coverage(each.confidence, each.correct) for each in models}
    first = min(max(FIRST_PHOTOS, round(FIRST_SHARE * len(models[0].targets))), len(models[0].targets) - 1)
    highest = max(float(curve.risk[first:].max()) for curve in curves.values())
    drawn = first + _some_of(len(models[0].targets) - first)
    x, y = (
        x_axis("Coverage (share of photos answered)", 0, 1),
        y_axis("Errors among them", 0, max(0.05, highest * 1.08)),
    )
    lines = [
        Line(number, name, figures.path(x, y, list(zip(curve.coverage[drawn], curve.risk[drawn], strict=True))), [])
        for number, (name, curve) in enumerate(curves.items())
    ]
    areas = ", ".join(f"{name} {curve.aurc:.3f}" for name, curve in curves.items())
    return Plot("Risk against coverage", f"Area under the curve: {areas}.", x, y, lines, [])


def _epochs(last: int) -> figures.Axis:
    return x_axis("Epoch", 1, max(2, last))


def _some_of(points: int) -> np.ndarray:
    """Indices of at most `MOST_POINTS` points, evenly spaced."""
    return np.linspace(0, points - 1, min(points, MOST_POINTS)).round().astype(np.int64)


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [points[at] for at in _some_of(len(points))]
