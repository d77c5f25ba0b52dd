"""Small trainings' photos, which the screening's features are computed from."""

from training.conftest import one_thread, place

__all__ = ["one_thread", "place"]  # fixtures
