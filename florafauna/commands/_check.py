"""`florafauna check`: what a run would do with labelled photos, on one screen."""

import sys
from pathlib import Path
from textwrap import wrap
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from florafauna.audit.audit import CACHE
from florafauna.base.errors import UserError, plain_line
from florafauna.base.suspicions import described
from florafauna.commands.params import load_params
from florafauna.labels.read import Photos
from florafauna.photos.settings import WHOLE_PHOTOS, BoxParams, DataParams
from florafauna.split.corrections import CORRECTIONS
from florafauna.split.dataset import examine_photos, read_with_boxes, split_photos
from florafauna.split.kept_places import PLACES, read_places
from florafauna.split.settings import SplitParams

TABLES = ("labels.csv", "labels.parquet")
PLAIN_WIDTH = 120  # columns where there is no terminal
# Together at most 40 lines
REASONS, CLASSES, NOTES = 8, 10, 4
NAMED = 3  # examples on a line


def check(
    params: Path,
    path: Path | None = None,
    labels: Path | None = None,
    format: str | None = None,  # noqa: A002
    label: str | None = None,
    groups: tuple[str, ...] | None = None,
) -> None:
    """Print an overview of the photos in `params`, or of those at `path`, and the split that would result.

    Corrections and kept places apply only to the project's own photos. Photos that cannot be split are described as
    far as possible before `UserError` is raised. Nothing is written except the audit's cache.
    """
    if path is not None and _is_the_projects(path, params):
        path = None
    kept = read_places(PLACES) if path is None else None
    data, split, boxes = _settings(params, path)
    given = {"labels": labels and str(labels), "format": format, "label": label, "groups": groups}
    data = data.model_copy(update={name: value for name, value in given.items() if value is not None})
    photos = read_with_boxes(data, boxes)
    notes: list[str] = []
    if path is not None:
        data, split, notes = _that_fit(photos, data, split, params, keep_groups=groups is not None)
    corrections, by = (CORRECTIONS, load_params(params).evaluate.by) if path is None else (None, None)
    examined = examine_photos(photos, data, split, corrections, CACHE, boxes=boxes, by=by)
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    try:
        dataset = split_photos(examined, split, kept)
    except UserError:
        _show(console, data, examined.facts(), examined.quarantine, [*examined.notes, *notes])
        raise
    _show(console, data, dataset.facts, dataset.quarantine, [*dataset.notes, *notes])


def _is_the_projects(path: Path, params: Path) -> bool:
    """Whether the photos are those of the params file."""
    return params.exists() and path.resolve() == Path(load_params(params).data.root).resolve()


def _settings(params: Path, path: Path | None) -> tuple[DataParams, SplitParams, BoxParams]:
    """The settings of the params file, with `path` as root; the defaults if there is a path but no file."""
    if path is None:
        loaded = load_params(params)
        return loaded.data, loaded.split, loaded.boxes
    labels = next((path / name for name in TABLES if (path / name).is_file()), path)
    here = DataParams(root=str(path), labels=str(labels))
    if not params.exists():
        return here, SplitParams(), WHOLE_PHOTOS
    loaded = load_params(params)
    elsewhere = {"root": here.root, "labels": here.labels, "boxes": None}
    return loaded.data.model_copy(update=elsewhere), loaded.split, WHOLE_PHOTOS


def _that_fit(
    photos: Photos, data: DataParams, split: SplitParams, params: Path, keep_groups: bool
) -> tuple[DataParams, SplitParams, list[str]]:
    """The settings without those for columns that these photos do not have."""
    known, notes = set(photos.table.columns), []
    if not keep_groups:
        kept = tuple(name for name in data.groups if name in known)
        notes += [
            f"no column '{name}', which data.groups of {params} names" for name in data.groups if name not in kept
        ]
        data = data.model_copy(update={"groups": kept})
    if split.after is not None and "datetime" not in known:
        notes.append(f"no column 'datetime', which split.after of {params} needs")
        split = split.model_copy(update={"after": None})
    if split.held_out_locations and "location" not in known:
        notes.append(f"no column 'location', which split.held_out_locations of {params} needs")
        split = split.model_copy(update={"held_out_locations": ()})
    return data, split, notes


def _show(
    console: Console, data: DataParams, facts: dict[str, Any], quarantine: pd.DataFrame, notes: list[str]
) -> None:
    lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    lines.add_column(no_wrap=True)
    room = console.width - len("duplicates  ")
    lines.add_column(no_wrap=True, overflow="ellipsis", max_width=room)
    for name, text in _lines(data, facts, notes):
        # the evidence for the labels is shown whole, the rest as far as it fits
        parts = wrap(text, room) if name == "labels" else [text]
        for number, part in enumerate(parts):
            lines.add_row("" if number else name, _plain(part))
    console.print(lines, highlight=False, markup=False)
    if len(quarantine):
        console.print(_quarantine(quarantine), markup=False, highlight=False)
    if facts["per_class"]:
        console.print(_classes(facts["per_class"], facts["photos"]["without_label"]), markup=False, highlight=False)


def _lines(data: DataParams, facts: dict[str, Any], notes: list[str]) -> list[tuple[str, str]]:
    photos, clusters, groups = facts["photos"], facts["duplicates"], facts["groups"]
    counts = f"{photos['input']} in {data.root}, {photos['used']} usable, {photos['quarantined']} quarantined"
    lines = [("photos", f"{counts} (format: {facts['format']})")]
    evidence, *notes = notes
    lines.append(("labels", evidence.removeprefix("labels ")))
    lines.append(("classes", f"{facts['classes']}{_imbalance(facts)}"))
    by = f" by {', '.join(data.groups)} and by likeness" if data.groups else " by likeness (data.groups is empty)"
    lines.append(("groups", f"{groups['named']} of {groups['photos']} photos{by}"))
    if facts["bursts"]["joined"]:
        joined = f"{facts['bursts']['joined']} of {facts['bursts']['photos']} photos"
        lines.append(("bursts", f"{joined}, by EXIF times at most {data.burst} s apart (data.burst)"))
    if "boxes" in facts:
        use, count, without = (facts["boxes"][name] for name in ("use", "boxes", "photos_without"))
        lines.append(("boxes", f"{count}, {without} photos without (boxes.use: {use})"))
    lines.append(
        (
            "duplicates",
            f"{clusters['clusters']} clusters of {clusters['photos']} photos, {clusters['exact']} pixel for pixel",
        )
    )
    lines += [("suspects", text) for text in _suspects(facts["suspects"])]
    if "splits" in facts:
        shares = facts["shares"]
        parts = [
            f"{name} {n}" + (f" ({shares[name]:.0%})" if name in shares else "") for name, n in facts["splits"].items()
        ]
        lines.append(("split", ", ".join(parts)))
        if facts["waivers"]:
            few = [f"{label} (only {', '.join(got)})" for label, got in facts["waivers"].items()]
            lines.append(("waivers", f"{len(few)} classes with too few groups for every split: {_some(few)}"))
        if facts["leaks"]:
            lines.append(("leaks", f"{len(facts['leaks'])} groups cross the given split: {_some(facts['leaks'])}"))
    lines += [("note", text) for text in notes[:NOTES]]
    if len(notes) > NOTES:
        lines.append(("note", f"and {len(notes) - NOTES} more"))
    return lines


def _imbalance(facts: dict[str, Any]) -> str:
    used = {label: counts["used"] for label, counts in facts["per_class"].items() if counts["used"]}
    if not used:
        return ""
    most, fewest = max(used, key=lambda label: used[label]), min(used, key=lambda label: used[label])
    return f", imbalance {facts['imbalance']:g} (most: {most}, {used[most]}; fewest: {fewest}, {used[fewest]})"


def _suspects(suspects: dict[str, Any]) -> list[str]:
    return [f"{len(found)} {title}: {_some(found)}" for title, found in described(suspects).items() if found]


def _some(names: list[str]) -> str:
    return "; ".join(names[:NAMED]) + ("; …" if len(names) > NAMED else "")


def _quarantine(quarantine: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column(
        "quarantine", no_wrap=True, width=max(len("quarantine"), int(quarantine["reason"].str.len().max()))
    )
    table.add_column("photos", justify="right", no_wrap=True, width=len("photos"))
    table.add_column("for example", no_wrap=True, overflow="ellipsis", ratio=1)
    counts = quarantine["reason"].value_counts()
    for reason, count in list(counts.items())[:REASONS]:
        example = quarantine[quarantine["reason"] == reason].iloc[0]
        table.add_row(_plain(str(reason)), str(count), _plain(f"{example['path']}: {example['detail']}"))
    if len(counts) > REASONS:
        table.add_row("others", str(int(counts.iloc[REASONS:].sum())), ", ".join(map(str, counts.index[REASONS:])))
    return table


def _classes(per_class: dict[str, dict[str, int]], without_label: int) -> Table:
    """The rarest and most common classes; then quarantined photos without a label, so that the numbers add up."""
    ordered = sorted(per_class, key=lambda label: (per_class[label]["used"], label))
    many = len(ordered) > CLASSES
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(f"class ({CLASSES // 2} rarest, {CLASSES // 2} most common)" if many else "class", no_wrap=True)
    columns = list(next(iter(per_class.values())))
    for name in columns:
        table.add_column({"input": "photos", "used": "usable"}.get(name, name), justify="right")
    shown = [*ordered[: CLASSES // 2], None, *ordered[-CLASSES // 2 :]] if many else ordered
    for label in shown:
        if label is None:
            table.add_row("…")
        else:
            table.add_row(_plain(label), *(str(per_class[label][name]) for name in columns))
    if without_label:
        unlabelled = {"input": without_label, "used": 0, "quarantined": without_label}
        table.add_row("(no label)", *(str(unlabelled.get(name, 0)) for name in columns))
    return table


def _plain(text: str) -> Text:
    return Text(plain_line(text))
