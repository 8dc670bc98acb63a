"""The tables, the plot and the page of all slides of a run together."""

from __future__ import annotations

from pathlib import Path

from app.batch.folder import Run, RunFolder
from app.batch.part_tables import parquet_bytes
from app.batch.write import cohort
from app.batch.write.cohort_plot import cohort_plot
from app.batch.write.report import cohort_report
from app.files import write_whole
from app.pipeline.bundle.load import Bundle


def write_cohort(at: RunFolder, run: Run, bundle: Bundle, failures: dict[str, str]) -> None:
    """Write the tables, the plot and index.html from the summaries of all slides that are done.

    Args:
        at: folder of the run.
        run: what was done.
        bundle: what analysed.
        failures: reasons, by id of the slides that are not.

    Raises:
        OSError: a file cannot be read or written.
    """
    n_clusters = bundle.manifest.n_clusters
    summaries = [at.read_summary(entry.slide) for entry in run.slides if entry.slide not in failures]
    failed = [
        cohort.Failure(entry.slide, Path(entry.path).name, entry.patient, failures[entry.slide])
        for entry in run.slides
        if entry.slide in failures
    ]
    slides = cohort.slides_table(summaries, failed, n_clusters)
    plot = cohort_plot(summaries, bundle.manifest.image_level.reference)
    files = {
        "slides.csv": cohort.table_csv(slides),
        "slides.parquet": parquet_bytes(slides),
        "regions.csv": cohort.table_csv(cohort.regions_table(summaries, n_clusters)),
        "failures.csv": cohort.table_csv(cohort.failures_table(failed)),
        "proportions.png": plot,
    }
    files["index.html"] = cohort_report(summaries, failed, plot, list(files))
    for name, content in files.items():
        write_whole(content, at.path / name)
