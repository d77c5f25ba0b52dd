"""The training photos most similar to a photo, by the features before the classifier: computed once, cached on disk."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from florafauna.base.code import code_hash
from florafauna.base.errors import UserError
from florafauna.base.files import fingerprint, sweep
from florafauna.pixels.centre import PREDICTION_BATCH
from florafauna.pixels.loading import EvalView, batches
from florafauna.pixels.store import PixelStore
from florafauna.predict.with_torch import TorchScorer
from florafauna.serve._nearest import Absent, Nearest, NeighboursState, jpeg
from florafauna.training.frozen.features import Features, NotRememberedError, remember

MAKERS = ("florafauna.bundle", "florafauna.model", "florafauna.pixels", "florafauna.training.frozen", __name__)
NEAREST = 6


def open_neighbours(scorer: TorchScorer, train: Path, cache: Path, model: AbstractContextManager[Any]) -> Nearest:
    """Neighbours from the store `train`, if it exists and has the same classes; `model` is locked while it runs."""
    if not callable(getattr(scorer.bundle.model, "forward_head", None)):
        return Absent("This architecture has no features to compare training photos by.")
    if not (train / "index.parquet").is_file():
        return Absent(f"There are no training photos in {train}; `dvc repro preprocess` creates them.")
    try:
        store = PixelStore(train)
    except UserError as error:
        return Absent(str(error))
    if store.labels != scorer.bundle.labels:
        return Absent(f"The training photos in {train} have other classes than this model.")
    return Neighbours(scorer, store, cache, model)


class Neighbours:
    """See `Nearest`. Call `find` only when `state` is ready."""

    def __init__(self, scorer: TorchScorer, store: PixelStore, cache: Path, model: AbstractContextManager[Any]) -> None:
        self.state = NeighboursState("waiting", total=len(store))
        self._scorer, self._store, self._cache, self._model = scorer, store, cache, model
        self._start = threading.Lock()
        self._features: Features | None = None

    def start(self) -> None:
        """See `Nearest`."""
        with self._start:
            if self.state.kind == "waiting":
                self.state = NeighboursState("computing", total=len(self._store))
                threading.Thread(target=self._compute, daemon=True, name="neighbours").start()

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """See `Nearest`; each row has norm 1."""
        return self._run(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()

    def find(self, query: np.ndarray, target: int) -> list[tuple[int, float]]:
        """See `Nearest`; similarity is the cosine."""
        assert self._features is not None
        rows = np.flatnonzero(self._store.targets == target)
        (known,) = self._features.rows(rows)
        likeness = known.numpy() @ query
        best = np.argsort(-likeness, kind="stable")[:NEAREST]
        return [(int(rows[each]), float(likeness[each])) for each in best]

    def picture(self, row: int) -> bytes | None:
        """See `Nearest`."""
        return jpeg(self._store.photo(row)) if 0 <= row < len(self._store) else None

    def _compute(self) -> None:
        data, store = self._scorer.bundle.data, self._store
        key = {
            "made by": [code_hash(*MAKERS), torch.__version__, timm.__version__],
            "bundle": self._scorer.info["sha256"],
            "data": asdict(data),
            "precision": self._scorer.compute.precision,
            "train": store.contents,
        }
        view = EvalView(data.test_size, data.crop_pct, data.interpolation)

        def computed(rows: range) -> Iterator[Sequence[torch.Tensor]]:
            done = 0
            for batch in batches(store, view, rows, PREDICTION_BATCH):
                yield (self._run(batch.images),)
                done += len(batch.names)
                self.state = NeighboursState("computing", done, len(store))

        try:
            sweep(self._cache)
            sample = self._run(torch.zeros(1, 3, data.test_size, data.test_size, dtype=torch.uint8))
            self._features = remember(self._cache / fingerprint(key)[:32], len(store), [sample], computed)
            self.state = NeighboursState("ready", len(store), len(store))
        except (UserError, NotRememberedError, OSError, RuntimeError) as error:
            self.state = NeighboursState("failed", why=f"The training photos cannot be compared: {error}.")

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (photos, features) on the CPU, of uint8 (photos, 3, height, width)."""
        with self._model:
            return torch.nn.functional.normalize(self._scorer.ready.features(images), dim=1)
