"""Check the key of a request against the file of keys, which may change while the service runs."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

from app.access.keys import InvalidKeys, Key, digest, read_keys

log = logging.getLogger(__name__)


class KeysUnreadable(Exception):
    """The keys file is missing or broken, so no request is let in; the text is safe to show to a client."""


class Keyring:
    """The keys of a file; the file is read again when it has changed.

    Each request costs one `stat` of the file, a few microseconds, so that a removed key is refused from the next
    request on. A keyring belongs to one thread: the event loop.

    Args:
        path: the keys file; None means that no key is needed.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._keys: tuple[Key, ...] = ()
        self._seen: tuple[int, ...] | None = None
        self._trouble: str | None = None

    @property
    def asks(self) -> bool:
        """Whether a request needs a key."""
        return self._path is not None

    def check(self) -> None:
        """Read the file if it has changed since the last time.

        Raises:
            KeysUnreadable: the file cannot be read, or is not a file of keys.
        """
        if self._path is None:
            return
        try:
            self._read(self._path)
        except (OSError, InvalidKeys) as error:
            # The file is tried again with each request, but each reason is logged only once.
            self._keys, self._seen = (), None
            if str(error) != self._trouble:
                log.error("no request is let in, because the keys cannot be read: %s", error)
            self._trouble = str(error)
            raise KeysUnreadable("The service cannot read its keys and lets nobody in until it can.") from error
        if self._trouble is not None:
            log.warning("the keys can be read again")
            self._trouble = None

    def name_of(self, offered: bytes) -> str | None:
        """Return the name of a key, or None if it is not one of the file's keys.

        Args:
            offered: the key as the client sent it.

        Raises:
            KeysUnreadable: the file cannot be read, or is not a file of keys.
        """
        self.check()
        found = digest(offered)
        # The time must not depend on how much of a key is right, so every key is compared.
        names = [key.name for key in self._keys if hmac.compare_digest(key.sha256, found)]
        return names[0] if names and offered else None

    def _read(self, path: Path) -> None:
        status = path.stat()
        # The time of the last change can be set back, or stay the same within a tick of the clock; all four rarely do.
        seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        if seen == self._seen:
            return
        self._keys = read_keys(path)
        self._seen = seen
        log.info("%d keys read", len(self._keys))
