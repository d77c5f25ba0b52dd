"""The photos and the thread of the trainings: a bundle is what one leaves."""

from training.conftest import one_thread, place

__all__ = ["one_thread", "place"]
