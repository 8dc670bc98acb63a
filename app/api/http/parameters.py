"""Refuse what a request says under a name that its route does not know: ignoring it would give another answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from difflib import get_close_matches
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import File, Form, Query
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile

MAX_SHOWN = 80
"""Characters of a wrong name that the problem repeats."""


class Route(APIRoute):
    """A route that refuses query parameters that it does not have, before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler, behind `before`."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            self.before(request)
            return await handle(request)

        return guarded

    def before(self, request: Request) -> None:
        """Refuse a request by its head; routes with further conditions add them here.

        Raises:
            HTTPException: 422, the query has a parameter that the route does not have, or has one more than once.
        """
        known = self.query_names
        for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
            if name not in known:
                raise HTTPException(422, self._unknown(name))
            if times > 1:
                raise HTTPException(422, f"The query parameter `{name}` is given {times} times; give it once.")

    @property
    def query_names(self) -> tuple[str, ...]:
        """Names of the query parameters that the route's own function declares."""
        return tuple(field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query))

    @property
    def form_names(self) -> tuple[str, ...]:
        """Names of the fields of the route's form: those of its function, and those of a schema that it declares."""
        declared = (self.openapi_extra or {}).get("requestBody", {}).get("content", {}).get("multipart/form-data", {})
        own = () if self.takes_json else (field.alias for field in self.dependant.body_params)
        return (*own, *declared.get("schema", {}).get("properties", ()))

    @property
    def text_names(self) -> tuple[str, ...]:
        """Names of those fields of the route's form that hold text and no file."""
        fields = self.dependant.body_params
        return tuple(
            field.alias
            for field in fields
            if isinstance(field.field_info, Form) and not isinstance(field.field_info, File)
        )

    @property
    def takes_json(self) -> bool:
        """Whether the body of the route is JSON."""
        fields = self.dependant.body_params
        return bool(fields) and not any(isinstance(field.field_info, Form) for field in fields)

    def _unknown(self, name: str) -> str:
        if name in self.form_names:
            return f"`{name}` belongs in the form of {self.path_format}, not in the query."
        return f"There is no query parameter {suggestion(name, self.query_names)}"


def suggestion(name: str, known: Collection[str]) -> str:
    """Return the rest of a sentence about a name that does not exist: the name, the one that was meant, the known ones.

    Args:
        name: the unknown name, as a client sent it.
        known: the names that exist.
    """
    near = get_close_matches(name.lower(), known, n=1)
    meant = f"; did you mean `{near[0]}`?" if near else "."
    there_are = f"The known ones are {', '.join(f'`{each}`' for each in known)}." if known else "None is known here."
    return f"`{name[:MAX_SHOWN]}`{meant} {there_are}"


def form_refusal(request: Request, form: FormData) -> str:
    """Return why a form of one or two files is refused: what it must hold, what it holds, what belongs in the query.

    Args:
        request: the request, whose route knows its fields and its query parameters. Its first field has one file; its
            second one, if there is one, may have one; and a third one may have text.
        form: the form that does not hold exactly that.
    """
    route = request.scope["route"]
    first, *others = route.form_names
    items = [(name[:MAX_SHOWN], isinstance(value, UploadFile)) for name, value in form.multi_items()]
    came = ", ".join(f"{'a file' if is_file else 'text'} in the field `{name}`" for name, is_file in items)
    texts = route.text_names
    may = [f"{'text' if field in texts else 'one'} in the field `{field}`" for field in others]
    also = f", and may hold {' and '.join(may)}" if may else ""
    sentences = [
        f"The multipart form must hold exactly one file in the field `{first}`{also}; found {came or 'nothing'}."
    ]
    wrong = [(field, field in texts) in items for field in route.form_names]
    if any(wrong):
        sentences.append("A part of the form is a file if its header Content-Disposition has a filename.")
    path = request.url.path
    for name, _ in items:
        if name in route.query_names:
            sentences.append(f"`{name}` belongs in the query: {path}?{name}=…")
    return " ".join(sentences)
