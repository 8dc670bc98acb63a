"""The commands `marrowscope reviews export` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.shell.options import BundleOption, MppOption, needs_extra, read_settings, report_errors

if TYPE_CHECKING:
    from app.review.candidates import Review, ReviewTile
    from app.review.reviews import Reviews
    from app.settings import Settings

HELP = """Take the names of cells out of the review, or put them in.

MARROWSCOPE_REVIEWS_DIR names the folder of the review, and
MARROWSCOPE_DATABASE_URL its database, if it has another one.
"""

cli = typer.Typer(no_args_is_help=True, help=HELP)
Tiles = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="DIR",
        help="Folder of the tiles; one that is not in the review is put in first. Default: all must be in it.",
        show_default=False,
    ),
]


@cli.command()
def export(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the files.", show_default=False)],
    bundle: BundleOption = None,
) -> None:
    """Write the named cells of every tile as GeoJSON, for QuPath.

    X.geojson has those of the tile that is called X.png, so that marrowscope
    classifier train can read them.

    Example: marrowscope reviews export --out named
    """
    with needs_extra("batch"), report_errors():
        settings = read_settings()
        reviews, review = _opened(settings, bundle)
        try:
            for path, n in _export(reviews, review, out):
                typer.echo(f"{path}: {n} named {'cell' if n == 1 else 'cells'}")
        finally:
            reviews.close()


@cli.command("import")
def import_names(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, metavar="CELLS", show_default=False)],
    tiles: Tiles = None,
    reviewer: Annotated[
        str | None,
        typer.Option(help="Who gave the names. Default: those whom the file of an export says.", show_default=False),
    ] = None,
    bundle: BundleOption = None,
    mpp: MppOption = None,
) -> None:
    """Read named cells from GeoJSON: an export, or classified objects of QuPath.

    The tile of X.geojson is the one that the file says, or is called X. Types
    that are not in the list yet are put at its end. The names of a file are
    kept all or none.

    Examples:
      marrowscope reviews import named/*.geojson
      marrowscope reviews import a.geojson --tiles tiles --reviewer "A. Smith"
    """
    with needs_extra("batch"), report_errors():
        settings = read_settings()
        reviews, review = _opened(settings, bundle)
        try:
            if tiles is not None:
                _put_in(reviews, review, settings, bundle, [*files], tiles, mpp)
            for file in files:
                _import(reviews, review, file, reviewer)
        finally:
            reviews.close()


def _opened(settings: Settings, bundle: str | None) -> tuple[Reviews, Review]:
    """Open the review of the settings, and return it with the bundle that is reviewed."""
    from app.pipeline.bundle.load import bundle_directory, read_manifest
    from app.pipeline.errors import InvalidParameter
    from app.review.candidates import review_of_manifest
    from app.review.reviews import open_reviews

    directory = bundle_directory(bundle or settings.bundle, settings.bundle_folders)
    review = review_of_manifest(*read_manifest(directory))
    reviews = open_reviews(settings.reviews_dir, settings.database_url)
    if reviews is None:
        raise InvalidParameter("No review is set. Set its folder, for example MARROWSCOPE_REVIEWS_DIR=reviews.")
    return reviews, review


def _export(reviews: Reviews, review: Review, out: Path) -> list[tuple[Path, int]]:
    from app.files import write_whole
    from app.pipeline.errors import InvalidParameter
    from app.review.export import exported, file_name

    written: dict[Path, int] = {}
    for sha256 in dict.fromkeys(tile.sha256 for tile in reviews.store.tiles()):
        named = reviews.store.names_of_tile(sha256)
        if not named:
            continue
        tile, data = exported(reviews.store, sha256, review)
        path = out / file_name(tile)
        if path in written:  # Two tiles have the same name.
            path = path.with_name(f"{path.stem}-{sha256[:12]}.geojson")
        write_whole(data, path)
        used = tile.review.sha256
        written[path] = len({name.cell for name in named.get(used, [])})
    if not written:
        raise InvalidParameter("No cell of the review has a name.")
    return list(written.items())


def _put_in(
    reviews: Reviews,
    review: Review,
    settings: Settings,
    bundle: str | None,
    files: list[Path],
    folder: Path,
    mpp: float | None,
) -> None:
    """Analyse the tiles of some files that are not in the review yet, and put them in."""
    import hashlib

    from app.pipeline.headers.inputs import TILE_SUFFIXES, check_mpp
    from app.pipeline.run import analyse_stages
    from app.review.candidates import check_reviewable
    from app.shell.options import open_bundle

    check_mpp(mpp)
    stems = {file.name.split(".")[0] for file in files}
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in TILE_SUFFIXES]
    loaded = None
    for path in (path for path in found if path.name.split(".")[0] in stems):
        data = path.read_bytes()
        if reviews.store.tile(hashlib.sha256(data).hexdigest(), review) is not None:
            continue
        if loaded is None:
            loaded = open_bundle(settings, bundle)
            check_reviewable(loaded)
        analysis, stages = analyse_stages(data, loaded, max_pixels=settings.max_pixels, mpp=mpp, precision="full")
        tile, _ = reviews.add_tile(analysis, stages, loaded, path.name, None, None)
        typer.echo(f"{path}: {tile.n_cells} cells were put into the review", err=True)


def _import(reviews: Reviews, review: Review, file: Path, reviewer: str | None) -> None:
    from app.pipeline.errors import InvalidParameter, PipelineError
    from app.review.export import imported
    from app.review.names import MAX_PERSON, checked_text

    person = None if reviewer is None else checked_text(reviewer, "The name of a reviewer", MAX_PERSON)
    data = file.read_bytes()
    tile = _tile_of(reviews, review, file, data)
    try:
        found = imported(reviews.store, data, tile, person, add_types=True)
    except PipelineError as error:
        raise InvalidParameter(f"{file}: {error}") from error
    typer.echo(f"{file}: {found.n_named} cells named, {found.n_changed} names new or changed")
    for sentence in found.unmatched:
        typer.echo(f"{file}: not used: {sentence}", err=True)


def _tile_of(reviews: Reviews, review: Review, file: Path, data: bytes) -> ReviewTile:
    """Return the tile that a file belongs to: the one that it says, or else the one of its name.

    Raises:
        InvalidParameter: there is no such tile in the review, or several.
    """
    from app.pipeline.errors import InvalidParameter
    from app.review.export import file_name, tile_said

    said = tile_said(data)
    tiles = reviews.store.tiles(review)
    found = [tile for tile in tiles if (tile.sha256 == said if said else file_name(tile) == file.name)]
    if len(found) != 1:
        there = "There is no tile" if not found else f"There are {len(found)} tiles"
        which = f"the SHA-256 {said[:12]}…" if said else "this name"
        raise InvalidParameter(
            f"{file}: {there} of {which} in the review of the bundle '{review.bundle}'. Put the tile in first, over "
            "HTTP or with --tiles."
        )
    return found[0]
