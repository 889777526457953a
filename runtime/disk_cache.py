"""Machine code on disk, so that the next process need not compile it again.

A folder of files, one for each entry, named by a hash of everything that its content depends on.  A
file is written whole or not at all (a temporary file, then a rename), so that any number of
processes may share the folder; what is read is compared with its checksum.  Whatever is wrong, with
an entry or with the folder, is as if the entry were not there.  The folder is kept below a limit:
what was used longest ago goes first.

The folder in use is the one state that this file holds for the process.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MAGIC = b"graphc entry 2\n"
LIMIT = 512 * 1024 * 1024
"""Bytes that the folder may hold."""

_SUFFIX = ".graphc"
_DAY = 24 * 3600.0
_DIGEST = hashlib.sha256().digest_size


def key_of(*parts: str) -> str:
    """The name of an entry whose content depends on `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


class DiskCache:
    """The entries in one folder."""

    def __init__(self, folder: Path, limit: int = LIMIT):
        self.folder = folder
        self.limit = limit
        # Somewhere in an interval, so that short processes together look as often as a long one.
        self._until_sweep = random.SystemRandom().randrange(self.limit // 16 + 1)
        self._lock = threading.Lock()

    def load(self, key: str) -> bytes | None:
        """The content of an entry, or None."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                raw = file.read() if _is_ours(status.st_uid) else b""
        except OSError:
            return None
        start = len(MAGIC) + _DIGEST
        content = raw[start:]
        if raw[:start] != MAGIC + _checksum(key, content):
            return None
        if time.time() - status.st_mtime > _DAY:
            with suppress(OSError):
                path.touch()  # used: not among the oldest
        return content

    def store(self, key: str, content: bytes) -> bool:
        """Keep `content`; whether that worked (a full disk or a read-only folder is no error)."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(suffix=".tmp", dir=self.folder)
        except OSError:
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + _checksum(key, content) + content)
            os.replace(name, self._path(key))
        except OSError:
            with suppress(OSError):
                os.unlink(name)
            return False
        self._make_room(len(content))
        return True

    def _path(self, key: str) -> Path:
        return self.folder / (key + _SUFFIX)

    def _make_room(self, added: int) -> None:
        """Drop the oldest entries when there are too many bytes; looks only now and then."""
        with self._lock:
            self._until_sweep -= added
            if self._until_sweep > 0:
                return
            self._until_sweep = self.limit // 16
        files = sorted(self._files(), reverse=True)  # newest first
        kept = 0
        for file in files:
            kept += file.size
            if kept > self.limit * 15 // 16 or (file.is_stray and time.time() - file.used > _DAY):
                with suppress(OSError):
                    os.unlink(file.path)

    def _files(self) -> Iterator[_File]:
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                is_stray = entry.name.endswith(".tmp")  # of a process that died while it wrote
                if not is_stray and not entry.name.endswith(_SUFFIX):
                    continue
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    yield _File(status.st_mtime, status.st_size, entry.path, is_stray)


class _File(NamedTuple):
    used: float
    size: int
    path: str
    is_stray: bool


def _checksum(key: str, content: bytes) -> bytes:
    """Of the key too: an entry under another name is none."""
    return hashlib.sha256(key.encode() + content).digest()


def _is_ours(owner: int) -> bool:
    """Code is only taken from files of this user or of the system."""
    return not hasattr(os, "getuid") or owner in (0, os.getuid())


# ---- the folder of this process ------------------------------------------------------------------


def default_folder() -> Path | None:
    """`graphc` in the user's cache folder ($XDG_CACHE_HOME or ~/.cache); None without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "graphc"
    try:
        return Path.home() / ".cache" / "graphc"
    except RuntimeError:
        return None


class _Current:
    """Which cache this process uses; the default one until another is chosen."""

    def __init__(self) -> None:
        self.is_chosen = False
        self.cache: DiskCache | None = None


_current = _Current()


def use_folder(folder: Path | None) -> None:
    """Keep machine code in `folder` from now on; None: keep none."""
    _current.cache = None if folder is None else DiskCache(folder)
    _current.is_chosen = True


def current_cache() -> DiskCache | None:
    """The cache in use, None where there is none."""
    if not _current.is_chosen:
        use_folder(default_folder())
    return _current.cache
