"""Whether the service may be started where it was told to: nobody is to open it to others without knowing."""

from __future__ import annotations

import os
from ipaddress import ip_address

from app.keys import read_keys
from app.pipeline.errors import PipelineError
from app.settings import Settings

REMOVED = "MARROWSCOPE_API_KEYS"
"""A setting of before: who still has it must not be left with a service that asks for no key."""


class Unprotected(PipelineError):
    """The service would be open to whom it should not be, or to nobody; the text says what to do."""


def check_access(settings: Settings) -> None:
    """Refuse to serve other machines without keys, unless the settings say that this is meant.

    Raises:
        Unprotected: it is not said; or no key can be read that would let anybody in.
        InvalidKeys, OSError: the keys file cannot be read.
    """
    if REMOVED in os.environ:
        raise Unprotected(
            f"{REMOVED} is no longer read: keys are kept hashed, in a file. Make one for each user with\n"
            "  MARROWSCOPE_KEYS_FILE=keys.json marrowscope keys add NAME\n"
            f"serve with MARROWSCOPE_KEYS_FILE set, and take {REMOVED} away."
        )
    path = settings.keys_file
    if path is not None:
        if not (path.exists() and read_keys(path)):
            raise Unprotected(f"{path} has no key, so that nobody could be let in. Make one: marrowscope keys add NAME")
    elif not (settings.without_keys or is_loopback(settings.host)):
        raise Unprotected(
            f"Other machines can reach {settings.host or 'every address'}, and no key would be asked for. Make a key,\n"
            "  MARROWSCOPE_KEYS_FILE=keys.json marrowscope keys add NAME\n"
            "and serve with MARROWSCOPE_KEYS_FILE set. Or say that everybody may use the service: --without-keys, or\n"
            "MARROWSCOPE_WITHOUT_KEYS=true."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; names other than localhost are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
