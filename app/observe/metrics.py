"""Numbers about the service, in Prometheus' text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from app import __version__
from app.observe.processes import shown_registry

if TYPE_CHECKING:
    from app.pipeline.bundle.load import Bundle
    from app.pipeline.run import Analysis

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
UPLOAD_BUCKETS = (10_000, 100_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 20_000_000)
LABELS = ("normal", "abnormal", "indeterminate")
NO_FLAG = "none"
"""Where a label was withheld without a flag: too few cells, or a score that both labels have."""

# When a series began is of no use here, and would double their number.
disable_created_metrics()


class Metrics:
    """What is counted and measured, in one process or in several that share their numbers.

    Label values come from fixed sets: route templates, known methods, statuses, stages, flag codes, loaded bundles.
    """

    def __init__(self) -> None:
        own = CollectorRegistry()
        self.requests = Counter(
            "marrowscope_requests", "Requests that were answered.", ["route", "method", "status"], registry=own
        )
        self.request_seconds = Histogram(
            "marrowscope_request_seconds",
            "From the headers of a request to the end of its answer, the upload included.",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
            registry=own,
        )
        self.upload_bytes = Histogram(
            "marrowscope_upload_bytes", "Bodies of POST /analyze as received.", buckets=UPLOAD_BUCKETS, registry=own
        )
        self.stage_seconds = Histogram(
            "marrowscope_stage_seconds",
            "Stages of an analysis; total is all of them.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=own,
        )
        self.tiles = Counter("marrowscope_tiles", "Tiles that were analysed.", ["bundle", "label"], registry=own)
        self.cells = Counter("marrowscope_cells", "Cells of those tiles.", ["bundle"], registry=own)
        self.outliers = Counter("marrowscope_outliers", "Cells unlike any training cell.", ["bundle"], registry=own)
        self.abstentions = Counter(
            "marrowscope_abstentions",
            "Tiles without a label by the flag that prevented it; one with several flags counts for each.",
            ["bundle", "flag"],
            registry=own,
        )
        self.waiting = _sum_gauge("marrowscope_queue_length", "Requests that wait for a worker.", own)
        self.busy = _sum_gauge("marrowscope_workers_busy", "Workers that work.", own)
        self.workers = _sum_gauge("marrowscope_workers", "Workers there are.", own)
        self.places = _sum_gauge("marrowscope_queue_limit", "Requests that may wait; more are answered 503.", own)
        self.ready = Gauge(
            "marrowscope_ready",
            "Whether /readyz says so, in the process that was asked last.",
            registry=own,
            multiprocess_mode="livemostrecent",
        )
        self.bundle = Gauge(
            "marrowscope_bundle_info",
            "Bundles that are served, and what computes them.",
            ["bundle", "version", "backend", "device"],
            registry=own,
            multiprocess_mode="livemax",
        )
        self.build = Gauge(
            "marrowscope_build_info", "Version of the code.", ["version"], registry=own, multiprocess_mode="livemax"
        )
        self.build.labels(__version__).set(1)
        self._shown = shown_registry(own)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._shown)

    def loaded(self, bundle: Bundle) -> None:
        """A bundle can be served: what it counts begins at 0, so that its first tile is seen as an increase."""
        name, version = bundle.manifest.name, bundle.manifest.version
        self.bundle.labels(name, version, bundle.backend.name, bundle.backend.device).set(1)
        for label in LABELS:
            self.tiles.labels(name, label)
        self.cells.labels(name)
        self.outliers.labels(name)

    def analysed(self, bundle: Bundle, analysis: Analysis) -> None:
        """A tile was analysed."""
        for stage, ms in analysis.timing_ms.items():
            self.stage_seconds.labels(stage).observe(ms / 1000)
        name, label = bundle.manifest.name, analysis.label.value
        self.tiles.labels(name, label).inc()
        self.cells.labels(name).inc(len(analysis.cells.areas_px))
        self.outliers.labels(name).inc(int(analysis.proportions.outlier.sum()))
        if label == "indeterminate":
            for code in [flag.code for flag in analysis.quality.flags if flag.prevents_label] or [NO_FLAG]:
                self.abstentions.labels(name, code).inc()


def _sum_gauge(name: str, says: str, registry: CollectorRegistry) -> Gauge:
    """A gauge of which the processes that are alive add up."""
    return Gauge(name, says, registry=registry, multiprocess_mode="livesum")
