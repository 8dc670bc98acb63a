"""Refuse to start a service that other machines can use without a key, unless the settings allow it."""

from __future__ import annotations

import os
from ipaddress import ip_address

from app.access.keys import read_keys
from app.pipeline.errors import PipelineError
from app.settings import Settings

REMOVED = "MARROWSCOPE_API_KEYS"
"""The setting that earlier versions read keys from. If it were ignored, its service would run without any key."""


class Unprotected(PipelineError):
    """The service would let everybody in, or nobody; the text says how to change that."""


def check_access(settings: Settings) -> None:
    """Check that the service asks for keys wherever other machines can reach it.

    Raises:
        Unprotected: other machines can reach the service without a key, and the settings do not allow that; or the
            keys file has no key, so that nobody could use the service.
        InvalidKeys, OSError: the keys file cannot be read.
    """
    if REMOVED in os.environ:
        raise Unprotected(
            f"{REMOVED} is no longer read: keys are kept hashed, in a file. Make one for each user with\n"
            "  MARROWSCOPE_KEYS_FILE=keys.json marrowscope keys add NAME\n"
            f"then serve with MARROWSCOPE_KEYS_FILE set, and remove {REMOVED} from the environment."
        )
    path = settings.keys_file
    if path is not None:
        if not (path.exists() and read_keys(path)):
            raise Unprotected(f"{path} has no key, so nobody could use the service. Run: marrowscope keys add NAME")
    elif not (settings.without_keys or is_loopback(settings.host)):
        raise Unprotected(
            f"Other machines can reach {settings.host or 'every address'}, and no key would be asked for. Make a key,\n"
            "  MARROWSCOPE_KEYS_FILE=keys.json marrowscope keys add NAME\n"
            "and serve with MARROWSCOPE_KEYS_FILE set. To let everybody use the service, add --without-keys or set\n"
            "MARROWSCOPE_WITHOUT_KEYS=true."
        )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only.

    Args:
        host: an IP address or a name. Of the names only `localhost` counts, because the address of any other name may
            change.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
