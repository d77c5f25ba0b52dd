"""benchmarks/RESULTS.md: one section a benchmark, replaced when that benchmark runs again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.timing import machine
from florafauna.base.files import write_atomic

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADING = (
    "# Benchmarks\n\nWritten by `python -m benchmarks NAME...`, a section a name. Ratios are medians of paired runs.\n"
)


@dataclass(frozen=True)
class Section:
    """What one benchmark found: what was compared with what, and a table."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def text(self, name: str) -> str:
        """The section as Markdown, with the command, the machine and the date."""
        table = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join(
            [
                f"## {self.title}",
                "",
                self.about,
                "",
                f"`python -m benchmarks {name}`, {datetime.now(UTC):%Y-%m-%d}: {machine()}",
                "",
                *("| " + " | ".join(row) + " |" for row in table),
                "",
            ]
        )


def write_section(path: Path, name: str, section: Section) -> None:
    """Put the section in the place of the one that the same benchmark wrote before, or at the end."""
    text = path.read_text(encoding="utf-8") if path.exists() else HEADING
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    mine = [number for number, part in enumerate(parts) if f"`python -m benchmarks {name}`" in part]
    new = section.text(name)
    parts = [part for number, part in enumerate(parts) if number not in mine[1:]]
    if mine:
        parts[mine[0]] = new
    else:
        parts.append(new)
    write_atomic(path, "\n\n".join(part.strip() for part in parts) + "\n")


def found(title: str, row: Sequence[str], column: str) -> str:
    """What the section `title` of RESULTS says in the first row that begins with `row`, in a column."""
    table = [line.strip("| ").split(" | ") for line in _section(title).splitlines() if line.startswith("| ")]
    cells = next(cells for cells in table[2:] if cells[: len(row)] == list(row))
    return cells[table[0].index(column)]


def cores_of(title: str) -> int:
    """The cores of the machine that the section `title` was measured on."""
    return int(re.findall(r", (\d+) cores,", _section(title))[0])


def number(text: str) -> float:
    """The first number in a cell: 1234.5 of '1,234.5 s'."""
    return float(re.findall(r"-?[\d,]*\.?\d+", text)[0].replace(",", ""))


def _section(title: str) -> str:
    parts = re.split(r"^## ", RESULTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return next(part for part in parts if part.startswith(f"{title}\n"))
