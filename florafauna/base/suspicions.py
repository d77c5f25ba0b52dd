"""The suspects of metrics/data.json in words, as `florafauna check` and the report show them."""

from collections.abc import Iterable
from typing import Any

# What each list of suspects in metrics/data.json is, as a heading
TITLES = {
    "seen_once": "labels of a single photo",
    "look_like_none": "labels that look like none",
    "spelling": "labels that differ by spelling alone",
    "near_duplicates_with_other_labels": "near-duplicates with several labels",
    "extension_is_not_the_format": "extensions that are not the format",
}


def with_labels(paths: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Files as sentences name them."""
    return [f"{path} ({label})" for path, label in zip(paths, labels, strict=True)]


def described(suspects: dict[str, Any]) -> dict[str, list[str]]:
    """The lists of suspects in metrics/data.json in words, by title."""
    words = suspects | {
        "spelling": [" / ".join(names) for names in suspects["spelling"]],
        "near_duplicates_with_other_labels": [
            ", ".join(with_labels(found["paths"], found["labels"]))
            for found in suspects["near_duplicates_with_other_labels"]
        ],
    }
    return {title: words[name] for name, title in TITLES.items()}
