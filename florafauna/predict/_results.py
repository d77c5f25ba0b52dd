"""MegaDetector's results, https://github.com/agentmorris/MegaDetector: read and completed entry by entry.

Only the file's text is in memory, since its objects would take ten times as much.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from florafauna.base.errors import UserError
from florafauna.labels.labels import LabelFiles
from florafauna.photos.sources import FolderSource

SPACE = re.compile(r"[\s,:]*")
IMAGES = "images"
CLASSES, DESCRIPTIONS = "classification_categories", "classification_category_descriptions"
RANKS = ("class", "order", "family", "genus")  # of a description: id;class;order;family;genus;species;common name
Entry = dict[str, Any]
DECODER = json.JSONDecoder()


class Results:
    """A file of results, for reading from its start to its end any number of times."""

    def __init__(self, file: Path) -> None:
        """`UserError` if the file is not text in UTF-8."""
        files = LabelFiles(file, FolderSource(file.parent), single=file.name)
        self._text, self._name = files.text(file.name), files.describe(file.name)
        self._at = 0

    def entries(self) -> Iterator[Entry]:
        """The photos; what is no object is an empty one."""
        for key, value, _ in self.members():
            if key == IMAGES:
                yield from (entry if isinstance(entry, dict) else {} for entry, _ in value)

    def head(self) -> dict[str, Any]:
        """All but the photos."""
        return {key: value for key, value, _ in self.members() if key != IMAGES}

    def members(self) -> Iterator[tuple[str, Any, str]]:
        """Key, value and the value's text, in the order of the file; `images` is an iterator of (value, text)."""
        self._at = self._text.index("{") + 1
        while self._next() != "}":
            key, _ = self._parse()
            if self._next() == "[" and key == IMAGES:
                self._at += 1
                elements = self._elements()
                yield key, elements, ""
                for _ in elements:  # those that were not asked for
                    pass
            else:
                yield key, *self._parse()

    def _elements(self) -> Iterator[tuple[Any, str]]:
        while self._next() != "]":
            yield self._parse()
        self._at += 1

    def _next(self) -> str:
        """The next character of importance."""
        found = SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._text[self._at : self._at + 1]

    def _parse(self) -> tuple[Any, str]:
        start = self._at
        try:
            value, self._at = DECODER.raw_decode(self._text, start)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self._name} is not valid JSON ({error}); run the detector again.") from None
        return value, self._text[start : self._at]


class Categories:
    """The numbers of our labels in a file: those it has for equal names, else new ones."""

    def __init__(self, head: dict[str, Any], labels: list[str], taxonomy: dict[str, dict[str, str]]) -> None:
        known = head.get(CLASSES)
        self.names: dict[str, Any] = dict(known) if isinstance(known, dict) else {}
        numbers = {name: number for number, name in self.names.items()}
        free = 1 + max((int(number) for number in self.names if number.isdecimal()), default=-1)
        self.of_labels: list[str] = []
        for label in labels:
            if label not in numbers:
                numbers[label], free = str(free), free + 1
            self.of_labels.append(numbers[label])
            self.names[numbers[label]] = label
        described = head.get(DESCRIPTIONS)
        self.descriptions: dict[str, Any] = dict(described) if isinstance(described, dict) else {}
        for label, number in zip(labels, self.of_labels, strict=True):
            if label in taxonomy and number not in self.descriptions:
                self.descriptions[number] = _description(label, taxonomy[label])

    @property
    def members(self) -> dict[str, Any]:
        """As the file has them."""
        return {CLASSES: self.names} | ({DESCRIPTIONS: self.descriptions} if self.descriptions else {})


def _description(label: str, taxa: dict[str, str]) -> str:
    """As SpeciesNet's: seven parts, of which the species is the epithet alone."""
    genus = taxa.get("genus", "")
    epithet = label.removeprefix(f"{genus} ") if genus and label.startswith(f"{genus} ") else ""
    ranks = [taxa.get(rank, "") for rank in RANKS]
    return ";".join(part.lower() for part in ["", *ranks, epithet, label])


def complete(results: Results, file: TextIO, members: dict[str, Any], change: Callable[[Entry], Entry | None]) -> None:
    """Write `results` to `file` with other `members`, and `change` of each photo, in order: None if it stays."""
    left, separator = dict(members), "{\n "
    for key, value, text in results.members():
        file.write(f"{separator}{json.dumps(key)}: ")
        separator = ",\n "
        if key == IMAGES:
            file.write("[")
            for number, (entry, as_it_is) in enumerate(value):
                changed = change(entry if isinstance(entry, dict) else {})
                file.write((",\n  " if number else "\n  ") + (as_it_is if changed is None else json.dumps(changed)))
            file.write("\n ]")
        else:
            file.write(json.dumps(left.pop(key)) if key in left else text)
    for key, value in left.items():
        file.write(f"{separator}{json.dumps(key)}: {json.dumps(value)}")
    file.write("\n}\n")
