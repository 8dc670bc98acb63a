"""Requests below the level of a client: what arrives when, and what comes back."""

import asyncio

HEAD = b'--b\r\nContent-Disposition: form-data; name="tile"; filename="a.png"\r\n\r\n'
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


class Exchange:
    """A POST by hand: its body comes in these messages, and then no more; it is whole or is never finished."""

    def __init__(self, app, *messages, headers=None, is_whole=False, path="/analyze", pause_s=0):
        self.app, self.messages, self.headers, self.is_whole = app, list(messages), headers or FORM, is_whole
        self.path, self.pause_s, self.status, self.body = path, pause_s, None, b""

    async def receive(self):
        if not self.messages:
            await asyncio.Event().wait()
        await asyncio.sleep(self.pause_s)
        return {
            "type": "http.request",
            "body": self.messages.pop(0),
            "more_body": bool(self.messages) or not self.is_whole,
        }

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.answered = message["status"], dict(message["headers"])
        else:
            self.body += message["body"]

    async def run(self):
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        scope = {"type": "http", "method": "POST", "path": self.path, "query_string": b""}
        await self.app(
            {**scope, "raw_path": self.path.encode(), "headers": headers, "http_version": "1.1"},
            self.receive,
            self.send,
        )
