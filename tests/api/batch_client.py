"""Batches as a client has them."""

from tests.waiting import PATIENCE_S, until

ENDED = {"finished", "failed", "cancelled"}


def post_tiles(client, *names, files=(), **fields):
    """POST /batches with a few bytes as each tile."""
    return client.post("/batches", files=[*[("tiles", (name, b"pixels")) for name in names], *files], data=fields)


def post_path(client, path, files=(), **fields):
    """POST /batches with a path, as multipart even where there is no file."""
    texts = [(name, (None, value)) for name, value in {"path": path, **fields}.items()]
    return client.post("/batches", files=[*texts, *files])


def ended(client, batch, limit_s=PATIENCE_S):
    """Wait until a batch has ended, and return it."""

    def found():
        answer = client.get(f"/batches/{batch['id']}").json()
        return answer if answer["state"] in ENDED else None

    return until(found, limit_s)
