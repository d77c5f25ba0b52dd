"""params.yaml: each stage reads its own section into a frozen, strict object; a mistake is reported in one sentence."""

import difflib
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from florafauna.base.errors import UserError

PARAMS = Path("params.yaml")
SECTIONS = ("data", "boxes", "split", "image", "training", "models", "evaluate", "screen", "ci")

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Pair = Annotated[tuple[Positive, Positive], Field(strict=False)]
Triple = Annotated[tuple[float, float, float], Field(strict=False)]
Interpolation = Literal["bilinear", "bicubic"]


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 3, 80, 80, 80


class Strict(BaseModel):
    """A frozen section that refuses unknown keys and does not convert types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    synonyms: ClassVar[dict[str, str]] = {}  # names that other tools use; difflib finds typing errors


Section = TypeVar("Section", bound=Strict)


def read_section(name: str, schema: type[Section], path: Path = PARAMS) -> Section:
    """One section of params.yaml; a missing key takes its default.

    `UserError` names a key that is wrong and, if it is unknown, the nearest valid one.

    >>> read_section("split", SplitParams).val  # doctest: +SKIP
    0.15
    """
    return section_of(read_tree(path), name, schema, str(path))


def section_of(tree: dict[str, Any], name: str, schema: type[Section], origin: str) -> Section:
    """One section of a tree that has already been read; `origin` names the tree in messages."""
    return checked(mapping(tree.get(name, {}), name, origin), schema, name, origin)


def read_tree(path: Path = PARAMS) -> dict[str, Any]:
    """All of params.yaml, unchecked but for the names of its sections: an unknown one is a `UserError`."""
    return known_sections(_read_yaml(path), str(path))


def known_sections(tree: Any, origin: str) -> dict[str, Any]:
    """`tree`, if it is a mapping of known sections; else `UserError`."""
    if not isinstance(tree, dict):
        raise UserError(f"{origin} has no sections; start from one of the files in presets/.")
    refuse_unknown(tree, set(SECTIONS), "", origin)
    return tree


def checked(value: dict[str, Any], schema: type[Section], where: str, origin: str) -> Section:
    """`value` validated by `schema`; `where` is its dotted path in the file `origin`."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{origin}: {_sentence(error, schema, where)}") from None
    except (RecursionError, UnicodeError):
        raise UserError(f"{origin}: '{where}' holds text that is not UTF-8, or is nested too deeply.") from None


def mapping(value: Any, where: str, origin: str) -> dict[str, Any]:
    """`value`, if it is a section with keys; else `UserError`."""
    if not isinstance(value, dict):
        raise UserError(f"{origin}: '{where}' must be a section with keys, not {shown(value)}.")
    return value


def refuse_unknown(
    section: dict[str, Any], valid: set[str], prefix: str, origin: str, synonyms: dict[str, str] | None = None
) -> None:
    """`UserError` for the first unknown key, with the nearest valid one."""
    for key in section:
        if key not in valid:
            raise UserError(f"{origin}: unknown key '{prefix}{key}'; {_nearest(str(key), valid, synonyms or {})}")


def shown(value: Any) -> str:
    """A value of params.yaml as a message shows it: in few words, however long it is or deeply nested."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # a number of more digits than Python prints
        return "so large a number"


def _nearest(key: str, valid: set[str], synonyms: dict[str, str]) -> str:
    synonym = synonyms.get(key.lower())
    if synonym in valid:
        return f"did you mean '{synonym}'?"
    near = difflib.get_close_matches(key, sorted(valid), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"valid keys are {', '.join(sorted(valid))}."


def _sentence(error: ValidationError, schema: type[Strict], where: str) -> str:
    """pydantic's first complaint as one sentence, with the full path of the key."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join([where, *path])
    if first["type"] == "extra_forbidden":
        inner = _at(schema, path[:-1])
        return f"unknown key '{key}'; {_nearest(path[-1], set(inner.model_fields), inner.synonyms)}"
    if first["type"] == "missing":
        return f"'{key}' is missing."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key}: {message}."
    return f"'{key}': {message[0].lower() + message[1:]}, not {shown(first['input'])}."


def _at(schema: type[Strict], path: list[str]) -> type[Strict]:
    """The section at `path` below `schema`."""
    here: Any = schema
    for part in path:
        here = here.model_fields[part].annotation
    section: type[Strict] = here
    return section


class _Yaml12Loader(yaml.SafeLoader):
    """YAML 1.2 as DVC reads it, where `1e-4` is a number (in PyYAML's 1.1 it is text); refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' appears twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; copy one from presets/ or run this in the repository's root.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    try:
        return yaml.load(text, Loader=_Yaml12Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path} is not valid YAML{line}: {error.problem}.") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply to be read; start from one of the files in presets/.") from None
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # a list as key, 2024-13-01
        raise UserError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from None
