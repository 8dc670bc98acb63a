"""The settings of the service, read from the environment. What an answer says is decided by the bundle, not here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _unix_only(path: Path) -> Path:
    """Refuse a setting that needs file locks or process groups on Windows, which has none."""
    if sys.platform == "win32":
        raise ValueError("this needs Linux or macOS, found Windows")
    return path


UnixPath = Annotated[Path, AfterValidator(_unix_only)]


class Settings(BaseSettings):
    """The settings, from variables MARROWSCOPE_… of the environment. The entry point reads them once."""

    model_config = SettingsConfigDict(env_prefix="MARROWSCOPE_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="The address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 takes any free one.")
    bundles_dir: Path = Field(default=Path(__file__).parents[1] / "models", description="The folder of the bundles.")
    taught_dir: Path | None = Field(
        default=None,
        description="The folder of taught bundles, which are served beside the others. Without it, they are written to "
        "the folder of the bundles.",
    )
    bundle: str = Field(default="marrow", description="The bundle that answers when a request names none.")
    max_bytes: int = Field(default=20 * 1024**2, ge=1, description="The largest request body, in bytes.")
    # Each million pixels of a large tile take about 60 MB while it is analysed (`make bench`).
    max_pixels: int = Field(
        default=9_000_000, ge=1, description="The largest tile, in pixels, as uploaded and at the bundle's scale."
    )
    workers: int = Field(default=2, ge=1, description="How many tiles are analysed at the same time.")
    queue: int = Field(
        default=16, ge=0, description="How many requests may wait for a worker; more are answered with 503."
    )
    time_limit_s: float = Field(
        default=60.0, gt=0, description="The time from the arrival of the body to the answer, in seconds; then 504."
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, description="How long a request body may pause while it arrives, in seconds; then 408."
    )
    body_min_bytes_per_s: float = Field(
        default=16 * 1024,
        gt=0,
        description="The least mean rate of a request body, in bytes per second, after its first seconds; then 408.",
    )
    threads: int = Field(
        default=0, ge=0, description="The threads of ONNX Runtime; 0 means one per core that may be used."
    )
    log_format: Literal["json", "text"] | None = Field(
        default=None, description="The format of the log. Without it: text on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level that is logged."
    )
    keys_file: Path | None = Field(
        default=None, description="The file of keys (`marrowscope keys`). Without it, no key is asked for."
    )
    audit_log: UnixPath | None = Field(
        default=None,
        description="The audit log, with a line for each request to /analyze and each change of the review and the "
        "bundles. Without it, there is none.",
    )
    drift_dir: UnixPath | None = Field(
        default=None, description="The folder of daily summaries of tiles. Without it, none are kept."
    )
    without_keys: bool = Field(default=False, description="Whether other machines may use the service without a key.")
    allowed_hosts: str = Field(
        default="",
        description="The names, separated by commas, that requests and the service's page may have besides those of "
        "this machine, such as that of a proxy.",
    )
    batches_dir: UnixPath | None = Field(
        default=None, description="The folder of batches and their results. Without it, there are no batches."
    )
    reviews_dir: Path | None = Field(
        default=None, description="The folder of cells and their names. Without it, no cells can be named."
    )
    slides_dir: Path | None = Field(
        default=None, description="The folder below which a batch may name slides. Without it, they must be uploaded."
    )
    database_url: str | None = Field(
        default=None,
        description="The database of batches and of the review. Without it: the files batches.sqlite and "
        "reviews.sqlite in their folders.",
    )
    scheduler: str | None = Field(
        default=None, description="The Dask scheduler of batches, tcp://…. Without it, they run on this machine."
    )
    scheduler_patience_s: float = Field(
        default=3600.0,
        ge=0,
        description="How long a batch waits for its Dask scheduler and a worker when they are away, in seconds.",
    )
    batch_workers: int | None = Field(
        default=None, ge=1, description="The number of processes of a batch. Without it: one per core that may be used."
    )
    batch_max_bytes: int = Field(
        default=1024**3, ge=1, description="The largest upload of a batch, in bytes, all its files together."
    )

    @property
    def bundle_folders(self) -> tuple[Path, ...]:
        """The folders of the bundles; of two bundles with the same name, that of the later folder is used."""
        return (self.bundles_dir, self.taught_dir) if self.taught_dir else (self.bundles_dir,)

    @property
    def writes_bundles(self) -> bool:
        """Whether the service may write bundles: cells are reviewed, or taught bundles have a folder."""
        return self.reviews_dir is not None or self.taught_dir is not None

    @property
    def allowed_names(self) -> frozenset[str]:
        """The names of `allowed_hosts`, in lower case and without ports."""
        return frozenset(urlsplit(f"//{name.strip()}").hostname or "" for name in self.allowed_hosts.split(",")) - {""}
