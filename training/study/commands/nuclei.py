"""Evaluations of the nuclei that are found: against dots, masks and drawings, by every preset and by its rivals."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from training.console import bar, keep_picture, keep_scores
from training.errors import ConfigError
from training.study.commands.options import OutDir, OutWithPicture

GrazWithDots = Annotated[
    Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/, cells_mbm.csv and cells.csv")
]
Segmenter = Annotated[
    Path | None, typer.Option(help="directory of a finished run of `segmenter`, to score preset `learned` as well")
]
Rivals = Annotated[
    bool,
    typer.Option(
        "--rivals/--no-rivals",
        help="run HistomicsTK's recipes as well, which takes minutes; else keep their recorded rows",
    ),
]


def detection(bm_graz: GrazWithDots, out: OutDir, segmenter: Segmenter = None, rivals: Rivals = True) -> None:
    """Score detection against the dots of `bm_graz`, on the tuning and the test tiles."""
    from training.study.protocols.segmentation import evaluate_detection
    from training.study.systems.segmentation_systems import preset_systems, segmentation_systems

    systems = (segmentation_systems if rivals else preset_systems)(segmenter)
    scores = evaluate_detection(bm_graz, systems, bar("tiles"))
    keep_scores(out / "detection.json", scores | _recorded_rivals(out / "detection.json", scores))


def errors(
    bm_graz: GrazWithDots,
    out: Annotated[Path, typer.Argument(help="picture to write")] = Path("docs/detection-errors.jpg"),
    segmenter: Segmenter = None,
) -> None:
    """Draw what is missed and what nobody marked on the test tiles of `bm_graz`, by `default` or by a network."""
    from app.pipeline.networks.open import open_segmenter
    from app.pipeline.presets import DEFAULT, LEARNED
    from training.study.figures.errors import draw_detection_errors
    from training.study.systems.segmentation_systems import by_preset

    system = (
        partial(by_preset, LEARNED, network=open_segmenter(segmenter)) if segmenter else partial(by_preset, DEFAULT)
    )
    typer.echo(str(keep_picture(out, draw_detection_errors(bm_graz, system, bar("tiles")), quality=88)))


def segmentation(
    datasets: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds monuseg/, consep/ or both")],
    out: OutDir,
    segmenter: Segmenter = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET=RUN",
            help="finished run of `segmenter` that has not seen any tile of the set; repeat for the other set",
        ),
    ] = None,
    rivals: Rivals = True,
) -> None:
    """Score masks against those of `monuseg` and `consep`; `default` is tuned on those of `monuseg`."""
    runs = dict(_set_and_run(text) for text in held_out or [])
    from training.study.protocols.segmentation import evaluate_segmentation
    from training.study.systems.segmentation_systems import LearnedSystem, preset_systems, segmentation_systems

    systems = (segmentation_systems if rivals else preset_systems)(segmenter)
    networks = {name: LearnedSystem(run) for name, run in runs.items()}
    result = evaluate_segmentation(datasets, systems, networks, bar("tiles"))
    path = out / "segmentation.json"
    keep_scores(path, {name: scores | _recorded_rivals(path, scores, name) for name, scores in result.items()})


def missed(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="directory that holds some of monuseg/, consep/ and bm_graz/")
    ],
    out: OutWithPicture,
    segmenter: Segmenter = None,
) -> None:
    """Count which nuclei are found, by size and by darkness, and draw those that are not; takes minutes."""
    from training.study.figures.errors import draw_missed_nuclei
    from training.study.protocols.missed import DOT_SET, evaluate_missed
    from training.study.systems.segmentation_systems import preset_systems

    systems = preset_systems(segmenter)
    keep_scores(out / "missed.json", evaluate_missed(data, systems, bar("tiles")))
    if (data / DOT_SET).is_dir():
        # The last one is preset `learned`, if it takes part.
        drawn = next(reversed(systems)) if segmenter else next(iter(systems))
        pixels = draw_missed_nuclei(data / DOT_SET, systems[drawn], bar("tiles"))
        picture = keep_picture(out.parent / "figures" / "missed-nuclei.jpg", pixels)
        typer.echo(f"{picture}: what preset `{drawn}` misses", err=True)


def sizes(
    out: OutDir,
    segmenter: Segmenter = None,
    tiles: Annotated[int, typer.Option(min=1, help="number of tiles to draw")] = 24,
) -> None:
    """Count which drawn nuclei are found, by size, density and situation, and compare their areas; takes minutes."""
    from training.study.protocols.sizes import evaluate_sizes
    from training.study.systems.segmentation_systems import preset_systems

    keep_scores(out / "sizes.json", evaluate_sizes(preset_systems(segmenter), tiles, bar("tiles")))


def _recorded_rivals(path: Path, scores: dict[str, Any], set_name: str | None = None) -> dict[str, Any]:
    """Return the recorded rows of HistomicsTK's recipes that were not measured again, of one set or of the only one."""
    from training.study.systems.segmentation_systems import RIVALS

    recorded = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = recorded if set_name is None else recorded.get(set_name, {})
    return {name: rows[name] for name in RIVALS if name in rows and name not in scores}


def _set_and_run(text: str) -> tuple[str, Path]:
    """Read SET=RUN."""
    name, _, run = text.partition("=")
    if not name or not run:
        raise ConfigError(f"--held-out must be SET=RUN, such as monuseg=runs/other; found '{text}'.")
    return name, Path(run)
