"""Configurations: TOML files, read into frozen dataclasses. An unknown key is an error.

A file states every value, or only what differs from a configuration that the package ships. A number that goes into the
manifest of the bundle has the range that the manifest allows, so that a long run does not end in a refused bundle.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from app.files import write_whole
from app.pipeline.manifest import ClusterCount, Count
from app.pipeline.presets import Positive
from app.pipeline.types import CHANNELS, CropKind
from training.errors import ConfigError

SHIPPED = Path(__file__).parent / "configs"
SHIPPED_NAMES = tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Weight = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _rising_share(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= value[0] <= value[1] <= 1:
        raise ValueError(f"must be rising and within 0 to 1, found {value}")
    return value


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"must be rising, found {value}")
    return value


@dataclass(frozen=True, config=_STRICT)
class EncoderConfig:
    """The encoder that Q stands on: its size, how it sees a cell twice, and its schedule.

    Not in the paper; the loss is that of Chen et al. 2020 (SimCLR).
    """

    width: Count
    """Channels of its first map; a cell has eight times as many features."""
    epochs: Count
    """How often it sees each cell."""
    batch_size: Annotated[int, Field(ge=2)]
    """Number of cells in a step; each is seen twice."""
    tiles_per_batch: Annotated[int, Field(ge=0)]
    """The cells of a step come from this many tiles, so that it is told apart from cells of its own tile; 0: of all."""
    learning_rate: Positive
    """The highest of a schedule with one cycle."""
    weight_decay: Weight
    temperature: Positive
    """What similarities are divided by in the loss."""
    max_turn_degrees: Annotated[float, Field(ge=0, le=45)]
    """Largest turn of a view, beyond the eight symmetries of the square."""
    scale_jitter: Annotated[float, Field(ge=0, lt=1)]
    """Largest change of a view's size, as a share of it."""
    shift: Annotated[float, Field(ge=0, lt=1)]
    """Largest shift of a view, as a share of half its edge."""
    density_jitter: Weight
    """Standard deviation of the logarithm of the factor on a view's optical density; half of it for each channel."""
    grey_share: Annotated[float, Field(ge=0, le=1)]
    """Share of the views without colour."""
    blur_share: Annotated[float, Field(ge=0, le=1)]
    """Share of the views that are blurred."""
    near_share: Annotated[float, Field(ge=0, le=1)]
    """Share of the views in which the surroundings end at a random distance from the nucleus."""
    neighbour_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the pairs of views of which the second is of one of the nearest cells of the same tile."""
    view_weight: Weight = 0.1
    """While clusters are learned, the weight of what the cluster of a cell tells about its own in another view, beside
    what it tells about that of a neighbour."""
    random_starts: Annotated[int, Field(ge=0)] = 0
    """Clusters are learned from as many random beginnings, and those that tell most are kept; 0: they are learned once,
    beginning with k-means, which gives more nearly the same clusters for every seed."""


WITH_ENCODER = {
    "critic_shift_px": 0,
    "critic_density_jitter": 0.0,
    "q_learning_rate": 0.0,
    "q_rests": 0,
    "real_weight": 0.0,
}
"""Keys of [train] that have an effect only if Q stands on an encoder, with their default."""


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """Architecture, losses and schedule of the GAN (paper §IV-B)."""

    channels: Count
    n_clusters: ClusterCount
    latent_size: Count
    generator_iterations: Count
    critic_steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]
    learning_rate: Positive
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    penalty_weight: Weight
    """λ₁ of eq. 10."""
    code_weight: Weight
    """λ₂ of eq. 12."""
    code_scale: Positive
    """Factor on the one-hot code at G's input; 1 as in the paper."""
    mode_seeking_weight: Weight
    """Weight of `losses.mode_seeking_loss` in the generator's step; 0 as in the paper."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the exponential moving average of the weights, which is exported; 0 exports the last weights."""
    precision: Literal["float32", "bfloat16"]
    """With bfloat16, the forward passes compute convolutions and matrix products in 16 bits; weights stay float32."""
    log_every: Count
    checkpoint_every: Count
    seed: Seed
    crops: CropKind = "nucleus"
    """What Q sees of a cell, and what G draws."""
    critic_shift_px: Annotated[int, Field(ge=0, lt=16)] = 0
    """Largest shift of the cells that D is shown, real and generated ones alike, so that it cannot learn the few real
    ones by heart (Zhao et al. 2020)."""
    critic_density_jitter: Weight = 0.0
    """Standard deviation of the logarithm of a random factor on the optical density of those cells."""
    q_learning_rate: Weight = 0.0
    """Of a Q on an encoder, while the GAN trains."""
    q_rests: Annotated[int, Field(ge=0)] = 0
    """Number of iterations before a Q on an encoder moves: learning what the first, poor cells of G are undoes it."""
    real_weight: Weight = 0.0
    """In Q's step, the weight of what its clusters of real cells tell, see `representation.company`."""
    encoder: EncoderConfig | None = None
    """What Q stands on; without it, Q has a trunk like the critic's, as in the paper."""

    @model_validator(mode="after")
    def _refuse_what_has_no_effect(self) -> TrainConfig:
        """Refuse keys that are for a Q on an encoder alone: without one, a run would pass over them in silence."""
        for name, neutral in WITH_ENCODER.items():
            if self.encoder is None and getattr(self, name) != neutral:
                raise ValueError(f"{name} has no effect without [train.encoder]; say {name} = {neutral!r}")
        return self

    @property
    def n_channels(self) -> int:
        """Number of channels of a crop."""
        return CHANNELS[self.crops]


@dataclass(frozen=True, config=_STRICT)
class SegmenterConfig:
    """The network that finds nuclei: its size, its views of tiles, and its rounds. Sizes in px are at its own scale."""

    channels: Count
    """Width of the network's first level."""
    rounds: Count
    """The first round learns from our own segmentation, and each later one from what the last one found."""
    max_steps: Count
    """Largest number of steps in a round."""
    check_every: Count
    """Steps between two checks of the agreement; there is a checkpoint at each."""
    patience: Count
    """A round ends after this many checks without a better agreement."""
    held_out_every: Annotated[int, Field(ge=2)]
    """Of each folder, one tile in this many is not learned from; the agreement is measured on these tiles."""
    batch_size: Annotated[int, Field(ge=2)]
    crop_px: Annotated[int, Field(ge=16, multiple_of=8)]
    """Edge of the squares that it learns from."""
    drawn_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the squares that show drawn nuclei, whose outlines are known."""
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Count
    """Steps in which the learning rate rises to its value."""
    weight_decay: Weight
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the exponential moving average of the weights, which is checked and exported."""
    scale_range: Annotated[tuple[float, float], AfterValidator(_rising)]
    """Lowest and highest size of a square before it is brought to `crop_px`, as a multiple of that."""
    density_range: Annotated[tuple[float, float], AfterValidator(_rising)]
    """Lowest and highest logarithm of the factor on a view's optical density."""
    channel_jitter: Weight
    """Largest logarithm of a further factor on the optical density of each channel."""
    blur_share: Annotated[float, Field(ge=0, le=1)]
    """Share of the views that are blurred."""
    max_blur_px: Annotated[float, Field(gt=0.3, le=2)]
    """Largest sigma of their Gaussian; the smallest is 0.3."""
    max_noise: Weight
    """Largest standard deviation of the noise of a view; transmission is 0–1."""
    precision: Literal["float32", "bfloat16"]
    """With bfloat16, the forward passes compute convolutions in 16 bits; weights stay float32."""
    log_every: Count
    seed: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=_STRICT)
class FitConfig:
    """The image-level model (paper §III-B2); without labels, it is fitted to simulated bags of cells."""

    bags_per_class: Count
    cells_per_bag: Count
    """Number of cells that are drawn, with replacement, for one bag."""
    blast_share: Annotated[tuple[float, float], AfterValidator(_rising_share)]
    """Lowest and highest share of large, open-chromatin cells in an abnormal bag, 0–1."""
    min_cells: Count
    """Smallest number of cells for which the service gives a label."""
    svm_c: Positive
    seed: Seed
    descriptor: Literal["proportions", "proportions+measurements"] = "proportions"
    """What the SVM knows of a tile: its proportions, as in the paper, or medians of measurements of its cells as well.
    The bundles of earlier versions do not say it."""


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """What the tiles are and where they come from; the bundle's manifest says so too. `mpp` is in µm per pixel."""

    name: str
    description: str
    source: str
    licence: str
    mpp: Positive
    mpp_basis: str


@dataclass(frozen=True, config=_STRICT)
class Config:
    """One run, from tiles to bundle."""

    preset: Literal["default", "paper", "learned"]
    """Segmentation preset of `app.pipeline.presets`."""
    data: DataConfig
    train: TrainConfig
    fit: FitConfig


@dataclass(frozen=True, config=_STRICT)
class SegmenterRun:
    """One run of the segmenter; it is read from the same files as `Config`."""

    data: DataConfig
    segmenter: SegmenterConfig


AnyConfig = TypeVar("AnyConfig", Config, SegmenterRun)
SECTIONS = {Config: ("preset", "data", "train", "fit"), SegmenterRun: ("data", "segmenter")}
"""The keys of a file that each kind of run is made of; those that only another kind needs are passed over."""
COMMANDS = {Config: "train", SegmenterRun: "segmenter"}
"""The command that makes each kind of run."""
_ADAPTERS: dict[type, TypeAdapter] = {kind: TypeAdapter(kind) for kind in SECTIONS}
_SEGMENTER = TypeAdapter(SegmenterConfig)
NAME = "config.json"


def load_config(path: Path, seed: int | None = None) -> Config:
    """Read a configuration.

    Args:
        path: a TOML file, or the name of a shipped configuration, for example "cpu". A file with `base = "cpu"` states
            only what differs from that one, key by key, or [data] as a whole.
        seed: replaces the seed of [train], for one of several runs.

    Raises:
        ConfigError: the file is not found, is not TOML, or does not have the form of `Config`.
    """
    config = _load(path, Config)
    return config if seed is None else replace(config, train=replace(config.train, seed=seed))


def load_segmenter_config(path: Path, seed: int | None = None) -> SegmenterRun:
    """Read the configuration of a segmenter from [segmenter] and [data] of a file, as `load_config` does."""
    config = _load(path, SegmenterRun)
    return config if seed is None else replace(config, segmenter=replace(config.segmenter, seed=seed))


def _load(path: Path, kind: type[AnyConfig]) -> AnyConfig:
    file = path if path.suffix == ".toml" else _shipped(str(path))
    values = _read_values(file)
    others = {key for sections in SECTIONS.values() for key in sections} - {*SECTIONS[kind]}
    try:
        if "segmenter" in values:
            # A mistake in the section is found whichever command reads the file.
            _SEGMENTER.validate_python(values["segmenter"])
        config: AnyConfig = _ADAPTERS[kind].validate_python({k: v for k, v in values.items() if k not in others})
    except ValidationError as error:
        raise ConfigError(f"{file}: {_reasons(error)}.") from error
    return config


def _shipped(name: str) -> Path:
    """Return the file of a shipped configuration."""
    if name not in SHIPPED_NAMES:
        raise ConfigError(
            f"There is no configuration '{name}': name one of {', '.join(SHIPPED_NAMES)}, or a .toml file."
        )
    return SHIPPED / f"{name}.toml"


def _read_values(file: Path) -> dict[str, Any]:
    """Return the values of a file; what it does not state comes from its base."""
    try:
        own = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}.") from error
    if "base" not in own:
        return own
    base = _read_values(_shipped(str(own.pop("base"))))
    # [data] is taken as a whole: a licence or a source of the base may be false for the file's own tiles.
    return {**_merged(base, own), **{key: own[key] for key in own if key == "data"}}


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a file over those of its base, key by key in each section that both have."""
    both = {key for key in own if isinstance(own[key], dict) and isinstance(base.get(key), dict)}
    return {**base, **own, **{key: _merged(base[key], own[key]) for key in both}}


def _reasons(error: ValidationError) -> str:
    """Return what is wrong, in one line."""
    found = ((".".join(map(str, one["loc"])), one["msg"]) for one in error.errors())
    return "; ".join(f"{where}: {what}" if where else what for where, what in found)


def write_config(config: AnyConfig, directory: Path) -> None:
    """Write the configuration of a run into its directory, as config.json.

    Raises:
        ConfigError: the directory holds a run of another configuration; only [data] may differ.
        OSError: it cannot be written.
    """
    path = directory / NAME
    if path.is_file() and replace(_read(directory, type(config)), data=config.data) != config:
        raise ConfigError(f"{directory} holds a run of another configuration; choose another directory.")
    write_whole(_ADAPTERS[type(config)].dump_json(config, indent=2) + b"\n", path)


def read_config(directory: Path) -> Config:
    """Read the configuration that `write_config` wrote.

    Raises:
        ConfigError: there is none, or it does not have the form of `Config`.
    """
    return _read(directory, Config)


def _read(directory: Path, kind: type[AnyConfig]) -> AnyConfig:
    path = directory / NAME
    try:
        config: AnyConfig = _ADAPTERS[kind].validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; is {directory} a run of `{COMMANDS[kind]}`?"
        ) from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_reasons(error)}.") from error
    return config


def config_of(values: dict[str, Any]) -> Config:
    """Return the configuration that `as_dict` wrote into the manifest of a bundle.

    Raises:
        ConfigError: it does not have the form of `Config`.
    """
    try:
        config: Config = _ADAPTERS[Config].validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"The configuration in the manifest cannot be used: {_reasons(error)}.") from error
    return config


def as_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as JSON values, for the manifest."""
    values: dict[str, Any] = _ADAPTERS[Config].dump_python(config, mode="json")
    return values
