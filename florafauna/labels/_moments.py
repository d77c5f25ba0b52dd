"""Dates and times as people's tools write them → ISO 8601."""

import pandas as pd

_DATE = r"(\d{4})[-:/](\d{2})[-:/](\d{2})"  # 2020-05-30, as EXIF 2020:05:30
_TIME = r"(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)"
_ZONE = r"(Z|UTC|[+-]\d{2}:?\d{2})"
_MOMENT = rf"^{_DATE}(?:[T ]{_TIME}(?: ?{_ZONE})?)?(?:/.*)?$"  # of an interval a/b, as Darwin Core has, its start
_NUMBERS = r"^(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?:[ T,]+(.*))?$"  # 30.5.2020, 5/30/20 7:08
_MONTH = r"^(\d{1,2})[- ]([A-Za-z]{3})[a-z]*[- ](\d{4})(?:[ T,]+(.*))?$"  # 30-May-2020
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CENTURY = 70  # two digits from here on are of the last century
_PARTIAL = r"^\d{4}(-\d{2})?$"


def to_iso(texts: pd.Series) -> tuple[pd.Series, pd.Series]:
    """ISO 8601 texts (2020-05-30T02:57:37+02:00, 2020-05-30 or 2020-05), and which values were understood.

    In 03/04/2020 nobody can tell the month from the day, unless the other texts do: no month is greater than 12. What
    they do not decide, is in another notation, or may begin with the year (20-05-30), becomes "".
    """
    values = pd.Series(texts.unique(), dtype=str)
    parts = _year_first(values.str.strip()).str.extract(_MOMENT).fillna("")
    year, month, day, time, zone = (parts[number] for number in range(5))
    time = time.where((time == "") | (time.str.find(":") == 2), "0" + time)
    time = time.str.replace(r"\.0+$", "", regex=True)
    zone = zone.replace({"Z": "+00:00", "UTC": "+00:00"}).str.replace(r"^([+-]\d{2})(\d{2})$", r"\1:\2", regex=True)
    iso = (year + "-" + month + "-" + day + "T" + time + zone).str.removesuffix("T")
    iso = iso.where(pd.to_datetime(iso, format="ISO8601", errors="coerce", utc=True).notna(), "")
    iso = iso.mask(values.str.match(_PARTIAL), values)
    table = dict(zip(values, iso, strict=True))
    result = texts.map(table).astype(str)
    return result, (result != "") | (texts == "")


def _year_first(values: pd.Series) -> pd.Series:
    """Dates that begin with the day or the month, as far as that is clear, in the order of ISO 8601."""
    parts = values.str.extract(_MONTH).fillna("")
    month = parts[1].str.lower().map({name: f"{number:02}" for number, name in enumerate(_MONTHS, 1)}).fillna("")
    values = values.mask(month != "", _iso(parts[2], month, parts[0], parts[3]))
    parts = values.str.extract(_NUMBERS).fillna("")
    parts[parts[1].eq("-") & parts[3].str.len().eq(2)] = ""  # may begin with the year
    first, second = (pd.to_numeric(parts[number]).fillna(0) for number in (0, 2))
    days_first, months_first = bool((first > 12).any()), bool((second > 12).any())
    day_first = (parts[1] == ".") | (days_first and not months_first)
    month_first = (parts[1] != ".") & (months_first and not days_first)
    short = parts[3].str.len() == 2
    year = parts[3].mask(
        short, (pd.to_numeric(parts[3]).fillna(0) < _CENTURY).map({True: "20", False: "19"}) + parts[3]
    )
    values = values.mask(day_first & (parts[0] != ""), _iso(year, parts[2], parts[0], parts[4]))
    return values.mask(month_first & (parts[0] != ""), _iso(year, parts[0], parts[2], parts[4]))


def _iso(year: pd.Series, month: pd.Series, day: pd.Series, time: pd.Series) -> pd.Series:
    return (year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + " " + time).str.strip()
