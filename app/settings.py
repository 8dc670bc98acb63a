"""How the service runs; what it answers is decided by the bundle alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _lockable(path: Path) -> Path:
    """Refuse what needs file locks or process groups where there are none."""
    if sys.platform == "win32":
        raise ValueError("this needs Linux or macOS, found Windows")
    return path


UnixPath = Annotated[Path, AfterValidator(_lockable)]


class Settings(BaseSettings):
    """Read once, by the entry point, from MARROWSCOPE_… in the environment."""

    model_config = SettingsConfigDict(env_prefix="MARROWSCOPE_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    bundles_dir: Path = Path(__file__).parents[1] / "models"
    bundle: str = Field(default="marrow", description="bundle that answers when a request names none")
    max_bytes: int = Field(default=20 * 1024**2, ge=1, description="largest request body")
    # Each million of a large tile takes about 60 MB while it is analysed (`make bench`).
    max_pixels: int = Field(default=9_000_000, ge=1, description="largest tile, as uploaded and at the bundle's scale")
    workers: int = Field(default=2, ge=1, description="tiles analysed at the same time")
    queue: int = Field(default=16, ge=0, description="requests that may wait for a worker; more are answered 503")
    time_limit_s: float = Field(default=60.0, gt=0, description="from the arrival of the body to the answer")
    body_timeout_s: float = Field(default=30.0, gt=0, description="for a request body to arrive; then 408")
    threads: int = Field(default=0, ge=0, description="threads of ONNX Runtime, 0 = one per core")
    log_format: Literal["json", "text"] | None = Field(default=None, description="none: text on a terminal, else JSON")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    keys_file: Path | None = Field(default=None, description="of `marrowscope keys`; none: no key is asked for")
    audit_log: UnixPath | None = Field(default=None, description="a line per request to /analyze; none: no log")
    without_keys: bool = Field(default=False, description="other machines may be served without a key")
    batches_dir: UnixPath | None = Field(default=None, description="of batches and their results; none: no batches")
    slides_dir: Path | None = Field(default=None, description="root of the paths that a batch may name; none: uploads")
    database_url: str | None = Field(default=None, description="of the batches; none: batches.sqlite in their folder")
    scheduler: str | None = Field(default=None, description="of Dask, for batches: tcp://…; none: this machine")
    batch_workers: int | None = Field(default=None, ge=1, description="processes of a batch; none: one per core")
    batch_max_bytes: int = Field(default=1024**3, ge=1, description="largest upload of a batch, all its tiles together")
