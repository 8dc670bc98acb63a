"""Batches as the tests of this folder need them."""

import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from app.jobs.batch import Batch, Order, Parameters
from app.jobs.folder import RESULTS
from app.jobs.progress import Progress

STAND_IN = Path(__file__).parent / "stand_in.py"


def stand_in_command(batch, folder):
    return [sys.executable, str(STAND_IN), batch.order.argument, str(folder / RESULTS)]


def new_batch(source="finish", created=None):
    parameters = Parameters(bundle="marrow", mpp=None, precision="fast", regions=0, patients=False)
    return Batch(
        id=uuid.uuid4().hex,
        state="queued",
        created=created or datetime.now(UTC),
        started=None,
        ended=None,
        by="lab",
        order=Order(source=source, argument=f"/slides/{source}", parameters=parameters),
        progress=Progress(),
        is_cancelling=False,
        detail=None,
        n_lost=0,
    )
