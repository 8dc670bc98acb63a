"""Who is let in: the keys of a file that may change while the service runs."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

from app.keys import InvalidKeys, Key, digest, read_keys

log = logging.getLogger(__name__)


class KeysUnreadable(Exception):
    """The keys file is gone or broken: nobody is let in until it can be read; the text is safe to show to a client."""


class Keyring:
    """The keys of a file, read again whenever the file is another.

    Not for several threads at once: it is asked on the event loop. The file is looked at (`stat`) for each request,
    which takes microseconds, so that a key that was removed is refused from the next request on.

    Args:
        path: the keys file; None: no key is asked for.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._keys: tuple[Key, ...] = ()
        self._seen: tuple[int, ...] | None = None
        self._trouble: str | None = None

    @property
    def asks(self) -> bool:
        """Whether a key is asked for."""
        return self._path is not None

    def check(self) -> None:
        """Read the file if it is another than before.

        Raises:
            KeysUnreadable: it cannot be read, or is not what it should be.
        """
        if self._path is None:
            return
        try:
            self._read(self._path)
        except (OSError, InvalidKeys) as error:
            # What could not be read is tried again each time; the log need not say so each time.
            self._keys, self._seen = (), None
            if str(error) != self._trouble:
                log.error("nobody is let in: %s", error)
            self._trouble = str(error)
            raise KeysUnreadable("The service cannot read its keys and lets nobody in until it can.") from error
        if self._trouble is not None:
            log.warning("the keys can be read again")
            self._trouble = None

    def name_of(self, offered: bytes) -> str | None:
        """The name of the key that these bytes are; None where they are none.

        Raises:
            KeysUnreadable: as `check` does.
        """
        self.check()
        found = digest(offered)
        # Every key is compared, so that the time does not tell which one came close.
        names = [key.name for key in self._keys if hmac.compare_digest(key.sha256, found)]
        return names[0] if names and offered else None

    def _read(self, path: Path) -> None:
        status = path.stat()
        # The time of writing can be set back, or stay the same within a tick of the clock; all four hardly can.
        seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        if seen == self._seen:
            return
        self._keys = read_keys(path)
        self._seen = seen
        log.info("%d keys read", len(self._keys))
