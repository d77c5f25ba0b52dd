"""Photos behind a URL such as s3://bucket/photos, read through fsspec."""

import posixpath
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from florafauna.base.errors import UserError
from florafauna.photos.archives import ARCHIVE, Refused, is_hidden
from florafauna.photos.kinds import one_line
from florafauna.photos.status import Status

T = TypeVar("T")


def is_url(given: str | Path) -> bool:
    """Whether it is a URL such as s3://bucket, of which a `Path` keeps one slash; a drive of Windows is none."""
    text, slashes = (given.as_posix(), "/") if isinstance(given, Path) else (given, "//")
    return re.match(rf"[a-z][a-z0-9+.-]+:{slashes}", text) is not None


class RemoteSource:
    """A folder behind `url`, or the single photo that is named; see `Source`. Archives in it are not read."""

    def __init__(self, url: str) -> None:
        """`UserError` where there is nothing, it may not be read, or what reads it is not installed."""
        self.url = url.rstrip("/")
        try:
            system, path = self._opened
            single = system.info(path)["type"] == "file"
        except FileNotFoundError:
            raise UserError(f"{url} does not exist; name a folder or a photo, without any *.") from None
        except ImportError as error:  # fsspec's, which names the package
            raise UserError(f"{url} cannot be read: {one_line(error)}.") from None
        except Exception as error:  # those of credentials and networks have no base class in common
            raise UserError(f"{url} cannot be read ({one_line(error)}); check address and credentials.") from None
        self._single = ""
        if single:
            self.url, _, self._single = self.url.rpartition("/")
            del self._opened

    def __getstate__(self) -> dict[str, object]:
        return {"url": self.url, "_single": self._single}  # other processes connect, and list, for themselves

    def read(self, path: str) -> bytes:
        """See `Source`."""
        system, root = self._opened
        return _or_os_error(lambda: bytes(system.cat_file(f"{root}/{path}")))

    def stat(self, path: str) -> Status:
        """See `Source`; the inode is S3's checksum, which a change of the content changes."""
        system, root = self._opened
        about = _or_os_error(lambda: system.info(f"{root}/{path}"))
        time = about.get("LastModified") or about.get("mtime") or 0.0
        seconds = time.timestamp() if hasattr(time, "timestamp") else float(time)
        return Status(int(about["size"]), int(seconds * 1e9), 0, crc32(str(about.get("ETag", "")).encode()))

    def files(self) -> list[str]:
        """See `Source`."""
        return [path for path in self._listing if not ARCHIVE.fullmatch(path)]

    def refused(self) -> list[Refused]:
        """See `Source`."""
        archives = [path for path in self._listing if ARCHIVE.fullmatch(path)]
        return [Refused(path, "unreadable", "an archive behind a URL is not read; fetch it") for path in archives]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system and the path in it. Listings are not kept: they take 1 kB a file."""
        from fsspec.core import url_to_fs

        system, path = url_to_fs(self.url, use_listings_cache=False)
        return system, str(path)

    @cached_property
    def _listing(self) -> list[str]:
        if self._single:
            return [self._single]
        system, root = self._opened
        found: list[str] = []
        try:
            for folder, _, names in system.walk(root, on_error="raise"):
                below = posixpath.relpath(folder, root)
                found += [posixpath.normpath(f"{below}/{name}") for name in names if name]
        except Exception as error:  # as above
            raise UserError(f"{self.url} cannot be listed ({one_line(error)}); run the same command again.") from None
        return sorted(path for path in found if not is_hidden(path))


def _or_os_error(ask: Callable[[], T]) -> T:
    """The answer; whatever a library raises becomes an `OSError`."""
    try:
        return ask()
    except OSError:
        raise
    except Exception as error:
        raise OSError(one_line(error)) from error
