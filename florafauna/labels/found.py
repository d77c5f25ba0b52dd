"""What lies below the root: photos, what accompanies them, and what is neither."""

import posixpath
from dataclasses import dataclass

from florafauna.photos.archives import Refused
from florafauna.photos.kinds import BAD_NAME, EXTENSIONS, RAW, VIDEO, printable
from florafauna.photos.sources import Source

# The audit refuses some of these with a reason of its own; a video among the photos is to be listed, not lost.
PHOTO_SUFFIXES = frozenset[str]().union(*EXTENSIONS.values()) | {".heic", ".heif", ".hif"}
SIDECARS = (".csv", ".tsv", ".tab", ".txt", ".parquet", ".pq", ".json", ".jsonl", ".xlsx", ".xls", ".ods", ".xml",
            ".gz", ".md", ".rst", ".pdf", ".html", ".yaml", ".yml", ".xmp", ".ddb", ".tdb", ".dvc", ".db", ".ini",
            "readme", "license", "licence")  # fmt: skip

# How files of photos begin whose name has no extension: JPEG, PNG, WebP, TIFF, GIF
STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"GIF8")


@dataclass(frozen=True)
class Found:
    """`files` are all that can be read, `photos` those that may be photos, in order; `others` say why they are not."""

    files: frozenset[str]
    photos: list[str]
    others: list[Refused]


def find_photos(source: Source) -> Found:
    """What a source holds. A photo is recognised by its name, or by its content where the name has no extension.

    Tables, notes and the like that accompany photos are not mentioned. The names of `others` are printable.
    """
    files = source.files()
    photos, others = [], list(source.refused())
    for path in files:
        suffix = posixpath.splitext(path)[1].lower()
        if not (path.isascii() and path.isprintable()) and printable(path) != path:
            others.append(Refused(path, *BAD_NAME))
        elif _is_photo_suffix(suffix) or (not suffix and _begins_like_a_photo(source, path)):
            photos.append(path)
        elif not path.lower().endswith(SIDECARS):
            others.append(Refused(path, "not_a_photo", f"a {suffix} file" if suffix else "a file without extension"))
    return Found(frozenset(files), photos, [other._replace(path=printable(other.path)) for other in others])


def without_videos(found: Found) -> Found:
    """What was found, with videos among the `others`: among labelled photos they are not photos that cannot be read."""
    suffixes = ((path, posixpath.splitext(path)[1].lower()) for path in found.photos)
    videos = {path: suffix for path, suffix in suffixes if VIDEO.fullmatch(suffix)}
    if not videos:
        return found
    refused = [Refused(path, "not_a_photo", f"a video ({suffix}); extract frames") for path, suffix in videos.items()]
    return Found(found.files, [path for path in found.photos if path not in videos], [*found.others, *refused])


def _is_photo_suffix(suffix: str) -> bool:
    return suffix in PHOTO_SUFFIXES or bool(RAW.fullmatch(suffix) or VIDEO.fullmatch(suffix))


def _begins_like_a_photo(source: Source, path: str) -> bool:
    try:
        return source.read(path).startswith(STARTS)
    except OSError:
        return True  # the audit says why it cannot be read
