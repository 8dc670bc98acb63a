"""Wait for an effect itself, for as long as a busy machine may need, and not for a length of time."""

import time

PATIENCE_S = 60
"""Many times what any single step takes on an idle machine."""


def until(condition, limit_s=PATIENCE_S, ignoring=()):
    """Return the first true value that a condition gives.

    Args:
        condition: a function without arguments; it is called again and again.
        limit_s: seconds after which the test fails.
        ignoring: exceptions of the condition that mean "not yet".
    """
    end, last = time.monotonic() + limit_s, None
    while time.monotonic() < end:
        try:
            if last := condition():
                return last
        except ignoring as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"The condition was not met within {limit_s:g} s; its last value was {last!r}.")
