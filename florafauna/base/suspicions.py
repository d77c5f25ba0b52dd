"""The suspects in metrics/data.json, worded for `florafauna check` and the report."""

from collections.abc import Iterable
from typing import Any

# The heading of each list of suspects in metrics/data.json
TITLES = {
    "seen_once": "labels with a single photo",
    "look_like_none": "labels that look like none",
    "spelling": "labels that differ only in spelling",
    "near_duplicates_with_other_labels": "near-duplicates with different labels",
    "extension_is_not_the_format": "extensions that do not match the format",
}


def with_labels(paths: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Files with their labels, as text."""
    return [f"{path} ({label})" for path, label in zip(paths, labels, strict=True)]


def described(suspects: dict[str, Any]) -> dict[str, list[str]]:
    """The suspects in metrics/data.json as text, by heading."""
    words = suspects | {
        "spelling": [" / ".join(names) for names in suspects["spelling"]],
        "near_duplicates_with_other_labels": [
            ", ".join(with_labels(found["paths"], found["labels"]))
            for found in suspects["near_duplicates_with_other_labels"]
        ],
    }
    return {title: words[name] for name, title in TITLES.items()}
