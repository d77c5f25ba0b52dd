"""The photos and the bundle of `predict`: the page shows what it says."""

from predict.conftest import bundle, one_thread, photos, place

__all__ = ["bundle", "one_thread", "photos", "place"]
