"""Any edit of any key of a published params file is either valid or one sentence."""

import copy
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.project import REPOSITORY

from florafauna.base.errors import UserError
from florafauna.base.settings import read_tree
from florafauna.commands.cli import main
from florafauna.commands.params import parse_params

PUBLISHED = sorted([REPOSITORY / "params.yaml", *(REPOSITORY / "presets").glob("*.yaml")])


def nested(depth: int, key: str | None = None) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


ROUND: list[Any] = []
ROUND.append(ROUND)  # as `&a [*a]`
ODD = (
    datetime.date(2024, 5, 1), datetime.datetime(2024, 5, 1, 12), [1], [None], [[1, 2], [3]], {}, {"a": 1}, {1: 2},
    {datetime.date(2024, 5, 1): 1}, {(1,): 2}, {1, 2}, b"bytes", None, True, -1, 0, 10**400, float("nan"), float("inf"),
    "", "a\nb", "\0", "\ud800", "x" * 100_000, nested(300), nested(3000), nested(3000, "a"), ROUND,
)  # fmt: skip


def edits(tree: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The tree with each odd value in the place of each key's."""

    def paths(section: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for key, value in section.items() if isinstance(section, dict) else ():
            yield (*path, key)
            yield from paths(value, (*path, key))

    for path in paths(tree):
        for value in ODD:
            edited = copy.deepcopy(tree)
            section = edited
            for key in path[:-1]:
                section = section[key]
            section[path[-1]] = value
            yield path, edited


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_an_edit_is_valid_or_one_short_sentence(path: Path) -> None:
    said = {}
    for key, edited in edits(read_tree(path)):
        try:
            parse_params(edited)
        except UserError as error:
            said[".".join(key), len(said)] = len(str(error))
    assert len(said) > 500
    assert max(said.values()) < 700, max(said, key=lambda key: said[key])


@pytest.mark.parametrize(
    "value",
    ["2024-05-01", "2024-13-01", "[" * 3000 + "]" * 3000, "{a: " * 3000 + "1" + "}" * 3000, "&a [*a]", "{[1]: 2}",
     "!!binary aGk=", '"\\ud800"', "1" * 10_000, "!!python/object:os.system x", "!!timestamp x", "? ", "1e999"],
    ids=lambda value: value[:20],
)  # fmt: skip
@pytest.mark.parametrize("key", ["data: {root: ", "split: {after: ", "models: {vit: {architecture: "])
def test_a_command_says_so_on_one_line(
    key: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(f"{key}{value}{'}' * key.count('{')}\n")
    with pytest.raises(SystemExit) as ended:
        main(["check"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("florafauna: params.yaml")
    assert len(said.splitlines()) == 1
