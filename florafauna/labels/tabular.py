"""CSV, TSV and Parquet → a frame of text: '007', 'NA', 'None' and 'true' are values like any other."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Set
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from florafauna.base.errors import UserError
from florafauna.base.files import parse_json
from florafauna.base.tables import ROWS
from florafauna.labels.labels import LabelFiles, base_name, decode

TEXT_TABLES = (".csv", ".tsv", ".tab", ".txt")
JSON_LINES = (".jsonl", ".ndjson")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
PARQUETS = (".parquet", ".pq")
DELIMITERS = ",;\t|"
BLOCK = 1 << 24  # bytes; a row that is longer could not be read


def is_table(path: str) -> bool:
    """Whether a file's name is that of a table."""
    return base_name(path).lower().endswith(TEXT_TABLES + JSON_LINES + PARQUETS)


def is_spreadsheet(path: str) -> bool:
    """Whether a file's name is that of a spreadsheet, which is not read."""
    return path.lower().endswith(SPREADSHEETS)


def columns(files: LabelFiles, path: str) -> list[str]:
    """The names of a table's columns, [] where it cannot be read as one; for recognising a format."""
    try:
        if _is_parquet(path):
            return [str(name) for name in pq.read_schema(io.BytesIO(files.read(path))).names]
        if _is_json_lines(path):
            return list(_read_json_lines(_first_lines(files.read(path)).partition("\n")[0], path, None).columns)
        return _header(_first_lines(_without_preamble(files.read(path))), files.describe(path))[0]
    except (UserError, pa.ArrowInvalid, OSError):
        return []


def read_table(files: LabelFiles, path: str, keep: Collection[str] | None = None, quoted: bool = True) -> pd.DataFrame:
    """A table as text, "" for what is missing; of its columns only `keep`, if given, as far as they are there.

    The delimiter of a text file is the one of comma, semicolon, tab and bar that its header has most of. `quoted` False
    takes quotation marks for text. Lines before the header (`sep=;`, `# a comment`) are passed over. `UserError`: no
    table, neither UTF-8 nor clearly Windows-1252, a column name given twice, rows of unequal length.
    """
    name = files.describe(path)
    if _is_json_lines(path):
        return _read_json_lines(files.text(path), name, keep)
    if _is_parquet(path):
        return _read_parquet(files.read(path), name, keep)
    data = _without_preamble(_as_utf8(files, path))
    header, delimiter = _header(_first_lines(data), name)
    return _checked(parse(data, name, delimiter, '"' if quoted else None), header, keep, name)


def _as_utf8(files: LabelFiles, path: str) -> bytes:
    """The bytes of a text table as UTF-8; of other encodings only Windows-1252 is read, and said."""
    data = files.read(path)
    try:
        decode(data, files.describe(path))
    except UserError:
        words = _western_words(data)
        if not words:
            raise
        files.remarks.append(
            f"{path} was read as Windows-1252, for example '{words[0]}'; save it as UTF-8 if that is wrong"
        )
        return data.decode("cp1252").encode()
    return data


def _western_words(data: bytes) -> list[str]:
    """The words with letters beyond ASCII, if the bytes are clearly Windows-1252: such letters are few in each word."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return []
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
    western = all(re.search(r"[a-zA-Z]", word) and not re.search(r"[^\x00-\x7f]{3}", word) for word in words)
    others = [char for char in text if not char.isascii() and not char.isalpha()]
    return words if western and not others and "\0" not in text else []


def _without_preamble(data: bytes) -> bytes:
    """Text without the lines that Excel (`sep=;`) and people (`# a comment`) put before the header."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    while match := re.match(rb"\s*(?:sep=.|#[^\r\n]*)(?:\r\n|\n|\r)", text, re.IGNORECASE):
        line, rest = match[0], text[match.end() :]
        marks = max(DELIMITERS.encode(), key=rest.partition(b"\n")[0].count)
        if (
            line.lstrip().startswith(b"#")
            and line.count(bytes([marks])) == rest.partition(b"\n")[0].count(bytes([marks])) > 0
        ):
            return text  # a header that begins so
        text = rest
    return text


def among(values: pd.Series, known: Set[str]) -> pd.Series:
    """Whether each value is a known one: `isin`, which takes seconds a million and refuses text that is not UTF-8."""
    found = np.zeros(len(values), dtype=bool)
    for start in range(0, len(values), ROWS):  # as Python's strings all of them would be most of the memory
        some = slice(start, start + ROWS)
        found[some] = [value in known for value in values.iloc[some].to_numpy(object)]
    return pd.Series(found, index=values.index)


def parse(data: bytes, name: str, delimiter: str, quote: str | None, skip: int = 1) -> pd.DataFrame:
    """The rows of UTF-8 delimited text but for the first `skip`, the columns numbered."""
    lengths: list[str] = []

    def refuse(row: pa.csv.InvalidRow) -> str:
        too_many = row.actual_columns > row.expected_columns
        advice = "quote values that hold delimiters" if too_many else "give every row a value, or a delimiter, for each"
        lengths.append(f"row {row.number} has {row.actual_columns} columns, not {row.expected_columns}; {advice}")
        return "error"

    try:
        table = pa.csv.read_csv(
            io.BytesIO(data),
            # one thread, because only then a bad row knows its number
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, autogenerate_column_names=True),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter,
                quote_char=quote or False,
                newlines_in_values=quote is not None,
                invalid_row_handler=refuse,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types={f"f{number}": pa.string() for number in range(_width(data, name, delimiter, quote))},
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        detail = lengths[0] if lengths else str(error).splitlines()[0]
        raise UserError(f"{name} cannot be read as a table: {detail}.") from None
    rows = table.slice(skip).to_pandas().astype(str).reset_index(drop=True)
    _refuse_open_quote(rows, data, quote, name)
    return rows


def _refuse_open_quote(rows: pd.DataFrame, data: bytes, quote: str | None, name: str) -> None:
    """Arrow takes all that follows a quotation mark that is not closed for one value, without a word."""
    if quote is None or not rows.size or "\n" not in (last := str(rows.iloc[-1, -1])):
        return
    mark = quote.encode()
    if data.count(mark) % 2 and not data.rstrip().endswith(mark):
        start = last.splitlines()[0]
        raise UserError(f"{name} has a quotation mark before '{start}' that is not closed; close it, or remove it.")


def _width(data: bytes, name: str, delimiter: str, quote: str | None) -> int:
    text = _first_lines(data).lstrip("\r\n")
    if quote is None:
        return text.partition("\n")[0].count(delimiter) + 1
    return len(_first_row(text, name, delimiter, quote))


def _first_row(text: str, name: str, delimiter: str, quote: str = '"') -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote), [])
    except csv.Error as error:
        raise UserError(f"{name} has no header that can be read ({error}); close its quotation marks.") from None


def _checked(table: pd.DataFrame, header: list[str], keep: Collection[str] | None, name: str) -> pd.DataFrame:
    """The table under its header's names; columns without a name (an index that pandas wrote) are dropped.

    So are rows without any value, such as Excel writes below a table.
    """
    twice = [column for column, count in Counter(header).items() if count > 1 and column]
    if twice:
        raise UserError(f"{name} has two columns named '{twice[0]}'; rename one of them.")
    table.columns = pd.Index(header)
    bare = table.index[table[table.columns[0]] == ""] if header[0] else table.index[:0]
    bare = bare[(table.loc[bare] == "").all(axis=1)]
    table = table.drop(index=bare).reset_index(drop=True) if len(bare) else table
    return table[[column for column in header if column and (keep is None or column in keep)]]


def _read_parquet(data: bytes, name: str, keep: Collection[str] | None) -> pd.DataFrame:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{name} cannot be read as Parquet: {str(error).splitlines()[0]}.") from None
    texts = {}
    for column in table.column_names:
        if keep is None or column in keep:
            texts[column] = _as_text(table[column])
    return pd.DataFrame({column: text for column, text in texts.items() if text is not None}, dtype=str)


def _read_json_lines(text: str, name: str, keep: Collection[str] | None) -> pd.DataFrame:
    """A table of one JSON object a line, as Hugging Face's metadata.jsonl; nested values are not text."""
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # other line breaks may stand in a text
        row = parse_json(line, f"{name}: line {number}", "export it again") if line.strip() else {}
        rows += [{str(key): value_as_text(value) for key, value in row.items()}] if row else []
    table = pd.DataFrame(rows, dtype=str).fillna("")
    return table[[column for column in table.columns if keep is None or column in keep]]


def value_as_text(value: Any) -> str:
    """A value of a JSON file as text: "" for null, true and false in JSON's spelling."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else json.dumps(value, ensure_ascii=False)


def _as_text(column: pa.ChunkedArray) -> pd.Series | None:
    """The values as text, integers without a decimal point; None for values that no table of text has."""
    if pa.types.is_nested(column.type):
        return None
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz))
    try:
        return column.cast(pa.string()).fill_null("").to_pandas().astype(str)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes of pictures, durations
        return None


def _is_json_lines(path: str) -> bool:
    return base_name(path).lower().endswith(JSON_LINES)


def _is_parquet(path: str) -> bool:
    return base_name(path).lower().endswith(PARQUETS)


def _first_lines(data: bytes) -> str:
    """Enough of the start of a file to hold its header."""
    return data[: 1 << 18].decode("utf-8-sig", errors="replace")


def _header(text: str, name: str) -> tuple[list[str], str]:
    """The column names, without the spaces around them, and the delimiter."""
    first = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""
    if not first:
        raise UserError(f"{name} is empty; it needs a header and rows.")
    unquoted = "".join(first.split('"')[::2])
    delimiter = max(DELIMITERS, key=lambda mark: (unquoted.count(mark), -DELIMITERS.index(mark)))
    header = _first_row(text.lstrip("\r\n"), name, delimiter)
    return [column.strip() for column in header], delimiter
