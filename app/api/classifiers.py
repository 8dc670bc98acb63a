"""POST /classifiers: a bundle that knows the types which people have named cells by."""

from __future__ import annotations

import errno
import logging

from fastapi import HTTPException, Request, Response

from app.api.bundles import AnalyzerDep
from app.api.http.keys import keyed_router
from app.api.http.problems import declare
from app.api.review_schemas import ClassifierIn, ClassifierOut
from app.api.reviews import ReviewsDep
from app.pipeline.bundle.load import bundle_directory
from app.pipeline.errors import InvalidBundle, InvalidParameter
from app.pipeline.manifest import Manifest
from app.review.candidates import check_reviewable
from app.settings import Settings

log = logging.getLogger(__name__)

router = keyed_router(404, prefix="/classifiers", tags=["review"])


@router.post(
    "",
    status_code=202,
    response_description="The bundle was written and answers from now on. The header Location shows it.",
    responses=declare(400, 408, 413, 415, 504),
)
async def teach_classifier(
    request: Request, response: Response, analyzer: AnalyzerDep, reviews: ReviewsDep, wanted: ClassifierIn
) -> ClassifierOut:
    """Teach a classifier on all names of the review, and write a bundle that gives every cell its type.

    It takes seconds. The answer says how right the classifier is on groups of cells that were left out. The new bundle
    is served at once, by this process, and within seconds by all others on the same folders of bundles.
    """
    settings: Settings = request.app.state.settings
    source = analyzer.bundle(wanted.source)
    check_reviewable(source)
    target = bundle_directory(wanted.name, settings.bundle_folders)

    def taught() -> tuple[Manifest, str]:
        try:
            written = reviews.teach(source, target, wanted.groups, wanted.leave_out)
        except InvalidParameter as error:  # The text is also for the shell, and has the path.
            raise InvalidParameter(str(error).replace(str(target), f"A bundle '{wanted.name}'")) from error
        except InvalidBundle as error:
            log.error("a bundle cannot be taught: %s", error)
            raise HTTPException(503, f"{error} No bundle was written, and all names are kept.") from error
        except OSError as error:
            raise _unwritable(error) from error
        analyzer.load_new()
        return written

    manifest, sha256 = await analyzer.work(taught)
    analyzer.bundle(wanted.name)  # It is served, this version or one that somebody has taught meanwhile.
    classifier = manifest.cell_classifier
    assert classifier is not None  # noqa: S101 - for mypy: it was written just now
    request.state.reviewed = {"n_named": classifier.source.cells}
    response.headers["Location"] = f"bundles/{wanted.name}"
    return ClassifierOut(
        name=wanted.name,
        version=manifest.version,
        sha256=sha256,
        types=classifier.types,
        measurements=classifier.measurements,
        neighbours=classifier.neighbours,
        threshold=classifier.threshold,
        types_warning=classifier.validation.warning,
        validation=classifier.validation,
        source=classifier.source,
    )


def _unwritable(error: OSError) -> HTTPException:
    log.error("a taught bundle cannot be written: %s", error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HTTPException(503, "The disk of the bundles is full; no bundle was written, and all names are kept.")
    return HTTPException(
        503,
        "The service cannot write to its folder of taught bundles (MARROWSCOPE_TAUGHT_DIR, or without it "
        "MARROWSCOPE_BUNDLES_DIR); no bundle was written, and all names are kept.",
    )
