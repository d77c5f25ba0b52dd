"""Dates and times as people's tools write them → ISO 8601."""

import pandas as pd

_DATE = r"(\d{4})[-:/](\d{2})[-:/](\d{2})"  # 2020-05-30, as EXIF 2020:05:30
_TIME = r"(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)"
_ZONE = r"(Z|UTC|[+-]\d{2}:?\d{2})"
_MOMENT = rf"^{_DATE}(?:[T ]{_TIME}(?: ?{_ZONE})?)?(?:/.*)?$"  # of an interval a/b, as Darwin Core has, its start
_PARTIAL = r"^\d{4}(-\d{2})?$"


def to_iso(texts: pd.Series) -> tuple[pd.Series, pd.Series]:
    """ISO 8601 texts (2020-05-30T02:57:37+02:00, 2020-05-30 or 2020-05), and which values were understood.

    A value in another notation becomes "": in 03/04/2020 nobody can tell the month from the day.
    """
    values = pd.Series(texts.unique(), dtype=str)
    parts = values.str.strip().str.extract(_MOMENT).fillna("")
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
