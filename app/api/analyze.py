"""POST /analyze: the form of a request in, one form of the answer out."""

from __future__ import annotations

from typing import Annotated

import mimeparse
from fastapi import File, Form, HTTPException, Query, Request, Response, UploadFile

from app.answer.formats import FORMATS, PNG, FormatName
from app.answer.present import Result
from app.answer.schemas import AnalysisOut
from app.api.bundles import AnalyzerDep, BundleQuery
from app.api.http.keys import keyed_router, reviewer_of
from app.api.http.parameters import form_refusal
from app.api.http.problems import declare
from app.pipeline.bundle.load import Bundle
from app.pipeline.corrections import Corrections, check_known, read_corrections
from app.pipeline.errors import InvalidParameter
from app.pipeline.headers.inputs import FORMATS as UPLOADS
from app.pipeline.headers.inputs import MPP_RANGE
from app.pipeline.networks.backend import Precision
from app.pipeline.run import Analysis
from app.review.names import MAX_PERSON

CONTENT = {
    FORMATS["geojson"].media_type: {"schema": {"type": "object"}},
    FORMATS["dsa"].media_type: {"schema": {"type": "object"}},
    FORMATS["csv"].media_type: {"schema": {"type": "string"}},
    PNG: {"schema": {"type": "string", "format": "binary"}},
}
UPLOAD_TYPES = ", ".join(f"image/{name.lower()}" for name in UPLOADS)
NUCLEI_TYPES = ", ".join((FORMATS["geojson"].media_type, FORMATS["json"].media_type, PNG, "image/tiff"))
ENCODING = {"tile": {"contentType": UPLOAD_TYPES}, "nuclei": {"contentType": NUCLEI_TYPES}}
UPLOAD = {"requestBody": {"content": {"multipart/form-data": {"encoding": ENCODING}}}}

_LEAST_WANTED_FIRST: tuple[FormatName, ...] = ("overlay", "csv", "dsa", "geojson", "json")
"""One format for each media type. Of those that a request wants equally, the last one is given."""
_BY_TYPE = {FORMATS[name].media_type: name for name in _LEAST_WANTED_FIRST}
MAX_SHOWN = 80
"""Characters of the header Accept that a problem repeats."""

router = keyed_router(tags=["analysis"])


@router.post(
    "/analyze",
    response_class=Response,
    response_description="The analysis of the tile, in the form that was asked for.",
    responses={200: {"model": AnalysisOut, "content": CONTENT}, **declare(400, 404, 406, 408, 409, 413, 415, 504)},
    openapi_extra=UPLOAD,
)
async def analyze(
    request: Request,
    analyzer: AnalyzerDep,
    tile: Annotated[UploadFile, File(description="The tile as PNG, JPEG or TIFF, with 8 bits per channel.")],
    nuclei: Annotated[
        UploadFile | None,
        File(
            description="Nuclei to take instead of seeking them in the tile. GeoJSON of polygons (Polygon or "
            "MultiPolygon), as QuPath and CellViT write it, in px of the tile with the origin at its top-left corner; "
            "or a label image as PNG or TIFF: grey, 8 or 16 bits, of the tile's size, where 0 is background and each "
            "nucleus has a number of its own."
        ),
    ] = None,
    corrections: Annotated[
        str | None,
        Form(
            description="Types that a person gives to cells in place of those that the cell classifier finds, as text: "
            'a JSON object of types with the numbers of their cells, as in {"Plasma cell": [12, 40]}. The '
            "numbers are the ids of the cells in an answer about the same tile with the same bundle, mpp and nuclei. "
            "The types are those of the bundle. At most 5,000 cells can be corrected, each once, and no outlier. Send "
            "all corrections each time, because the service keeps none.",
            json_schema_extra={"contentMediaType": "application/json"},
        ),
    ] = None,
    bundle: BundleQuery = None,
    mpp: Annotated[
        float | None,
        Query(
            ge=MPP_RANGE[0],
            le=MPP_RANGE[1],
            description="Scale of the tile in µm per pixel, 0.05 to 4. Without it, the scale that the file says is "
            "taken, and else the bundle's; tile.mpp_source in the answer says which.",
        ),
    ] = None,
    prototypes: Annotated[
        int, Query(ge=0, le=16, description="Number of prototype cells per cluster to embed, 0 to 16, in JSON only.")
    ] = 0,
    measurements: Annotated[
        bool, Query(description="Whether JSON, GeoJSON and CSV hold the measurements of every cell.")
    ] = True,
    features: Annotated[
        bool,
        Query(
            description="Whether JSON holds the features of every cell, by which cells can be compared. Only bundles "
            "whose manifest has an architecture.encoder_width have features; others are refused with 422."
        ),
    ] = False,
    precision: Annotated[
        Precision,
        Query(
            description="Precision of the network that sorts the cells. full is exact. fast uses 8-bit integers where "
            "the bundle has such a network, and is full elsewhere. GET /bundles/{name} shows the bundle's precisions, "
            "and in manifest.fast.agreement how far both agree."
        ),
    ] = "fast",
    reviewer: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_PERSON,
            description="Who corrects the types, 1 to 80 printable characters. If the service asks for keys, the name "
            "of the key is the reviewer, and another name is refused. Without keys and without this parameter it is "
            "`reviewer`. Without corrections the parameter says nothing.",
        ),
    ] = None,
    cells_sha256: Annotated[
        str | None,
        Query(
            pattern="^[0-9a-f]{64}$",
            description="On which cells the corrections were made: the field cells_sha256 of the answer that the "
            "person has looked at. If the bundle was changed since, or the numbers mean other cells, the request is "
            "refused with 409. Without corrections the parameter says nothing.",
        ),
    ] = None,
    format: Annotated[
        FormatName | None,
        Query(
            description="Form of the answer; it overrides the header Accept. json, the default, holds everything; "
            "geojson holds detections for QuPath; dsa an annotation for HistomicsUI and the Digital Slide Archive; csv "
            "a row for each cell; overlay is the tile with outlines as PNG; labels a 16-bit PNG, where 0 is background "
            "and i + 1 is cell i; tile is the tile as it was read, as PNG."
        ),
    ] = None,
) -> Response:
    """Find the cells of a tile, their clusters and proportions, and the tile's label."""
    state = request.state
    wanted = wanted_format(format, ", ".join(request.headers.getlist("accept")))
    data, own_nuclei = await read_uploads(request, tile, nuclei, corrections)
    if features:
        check_features(analyzer.bundle(bundle))
    n_prototypes, with_features = (prototypes, features) if wanted == "json" else (0, False)
    state.format, is_audited = wanted, request.app.state.audit_log is not None
    if is_audited:
        state.upload = data  # The log also names the checksum of an upload that is refused.
    given = corrections_of(corrections, reviewer_of(request, reviewer), cells_sha256, analyzer.bundle(bundle))

    def answer(analysis: Analysis, used: Bundle) -> bytes:
        result = Result(analysis, used, state.request_id, n_prototypes, measurements, with_features)
        state.n_cells = len(analysis.cells)
        if is_audited:
            state.tile_sha256, state.record = analysis.tile.sha256, result.record()
        return FORMATS[wanted].write(result)

    body = await analyzer.analyse(data, bundle, mpp, precision, answer, own_nuclei, given)
    return Response(body, media_type=FORMATS[wanted].media_type)


async def read_uploads(
    request: Request, tile: UploadFile, nuclei: UploadFile | None = None, text: str | None = None
) -> tuple[bytes, bytes | None]:
    """Return the bytes of the tile, and those of the nuclei if they came with it, and close the form.

    FastAPI has parsed the form into memory (`app.api.http.forms`). From here on these bytes are the only
    copy of the uploads; they are freed when the request ends.

    Args:
        request: the request, whose form was parsed.
        tile: the form's first field, which must hold a file.
        nuclei: the form's second field.
        text: the text of the form's third field; None if it has none, or an empty one.

    Raises:
        HTTPException: 400, the form holds anything else.
    """
    form = await request.form()
    # Where no file was chosen, a browser sends an empty one without a name, and FastAPI gives None.
    fields = request.scope["route"].text_names
    sent = [
        part
        for name, part in form.multi_items()
        if (part or name not in fields if isinstance(part, str) else part.filename or part.size)
    ]
    if len(sent) != 1 + sum(part is not None for part in (nuclei, text)):
        raise HTTPException(400, form_refusal(request, form))
    data = await tile.read(), None if nuclei is None else await nuclei.read()
    await form.close()
    return data


def corrections_of(text: str | None, by: str, made_on: str | None, bundle: Bundle) -> Corrections | None:
    """Return the corrections of a request; None if it has none.

    Args:
        text: the form's field, JSON.
        by: who sends it.
        made_on: on which cells they were made; None if that is not said.
        bundle: the bundle that is to analyse.

    Raises:
        InvalidCorrections: they cannot be read, or the bundle does not know the types.
    """
    if text is None:
        return None
    cells = read_corrections(text)
    if not cells:
        return None
    check_known(cells, bundle.manifest)
    return Corrections(cells, by, made_on)


def check_features(bundle: Bundle) -> None:
    """Check that a bundle gives features.

    Raises:
        InvalidParameter: it gives none.
    """
    if not bundle.manifest.n_features:
        raise InvalidParameter(
            f"The bundle {bundle.manifest.name} gives no features of cells, because its network Q has no encoder; "
            "leave the parameter features out, or name another bundle."
        )


def wanted_format(format: FormatName | None, accept: str | None) -> FormatName:
    """Return the form of the answer that a request wants (RFC 9110 §12.5.1).

    Args:
        format: the query parameter, which overrides `accept`.
        accept: the header Accept; JSON is given where there is none.

    Raises:
        HTTPException: 406, the answer has none of the accepted media types.
    """
    if format is not None:
        return format
    if not accept:
        return "json"
    try:
        # Media types are compared without regard to case, and mimeparse leaves that to its caller.
        best = mimeparse.best_match(_BY_TYPE, accept.lower())
    except mimeparse.MimeTypeParseException:
        best = ""
    if not best:
        known = ", ".join(reversed(_BY_TYPE))
        raise HTTPException(406, f"The answer can be {known}; found Accept: {accept[:MAX_SHOWN]}")
    return _BY_TYPE[best]
