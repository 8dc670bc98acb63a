"""manifest.json of a bundle: every number that decides an answer, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from app.pipeline.presets import Part, SegmentationParams

SCHEMA_VERSION = 1
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

Q_ONNX = "q.onnx"
GENERATOR_ONNX = "generator.onnx"
WEIGHTS = "weights.safetensors"
GOLDEN_CELLS = "golden/cells.png"
GOLDEN_EXPECTED = "golden/expected.json"
SAMPLE = "sample.png"
FILES = (Q_ONNX, GENERATOR_ONNX, WEIGHTS, GOLDEN_CELLS, GOLDEN_EXPECTED, SAMPLE)

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
LabelValue = Literal["normal", "abnormal"]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=360)]
N_STAIN_FEATURES = 12


class Architecture(Part):
    """What the PyTorch fallback needs to rebuild the networks."""

    channels: int = Field(ge=1)
    code_scale: float = Field(gt=0)


class Svm(Part):
    """L2-SVM on proportions: score = weights · P + bias, positive = abnormal."""

    weights: tuple[float, ...]
    bias: float


class KMeans(Part):
    """Two centres in proportion space, and the label of each."""

    centres: tuple[tuple[float, ...], tuple[float, ...]]
    labels: tuple[LabelValue, LabelValue]


class ImageLevel(Part):
    """From proportions to the tile's label."""

    label_basis: str = Field(min_length=1, description="what normal and abnormal mean here; says what was simulated")
    min_cells: int = Field(ge=1, description="cells below which no label is given")
    svm: Svm
    kmeans: KMeans
    calibration: None = Field(default=None, description="of score to probability; none yet")


class QualityReference(Part):
    """What the training tiles look like, and how far from them a tile may be before it is flagged."""

    stain_matrix: tuple[tuple[float, float, float], tuple[float, float, float]] = Field(
        description="mean unit vectors of haematoxylin and eosin, after normalisation"
    )
    stain_centre: tuple[float, ...] = Field(
        min_length=N_STAIN_FEATURES,
        max_length=N_STAIN_FEATURES,
        description="medians of the stain as it comes: mean and spread of lαβ, vectors of haematoxylin and eosin",
    )
    stain_scale: tuple[Positive, ...] = Field(
        min_length=N_STAIN_FEATURES, max_length=N_STAIN_FEATURES, description="robust standard deviations of the same"
    )
    max_stain_distance: Positive = Field(
        description="root mean square deviation above which a stain is out of range, in these standard deviations"
    )
    hue_range_deg: tuple[Degrees, Degrees] = Field(
        description="low and high hue of haematoxylin, eosin and their mixtures, in hue-saturation-density"
    )
    min_saturation: float = Field(ge=0, description="saturation below which a pixel is grey, in the same")
    min_he_share: Fraction = Field(description="share of stain in these colours below which a tile is not H&E")
    min_focus: Positive = Field(description="energy of fine over coarse detail below which a tile is blurred")
    max_blockiness: Positive = Field(description="JPEG's blocks, over the mean step, above which a tile is damaged")
    min_tissue_fraction: Fraction = Field(description="share of tissue below which there is little")
    max_clipped: Fraction = Field(description="share of tissue at 0 or 255 above which a tile is badly exposed")
    nuclear_radius_range_px: tuple[Positive, Positive] = Field(
        description="low and high mean radius of nuclei, at the bundle's scale, outside which the scale is suspect"
    )
    min_nuclei: int = Field(ge=1, description="radii below which the scale is not judged")

    @field_validator("hue_range_deg", "nuclear_radius_range_px")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError(f"must be rising, found {value}")
        return value

    @field_validator("stain_matrix")
    @classmethod
    def _directed(cls, value: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        for vector in value:
            if not any(vector):
                raise ValueError(f"must hold vectors with a direction, found {vector}")
        return value


class DataSource(Part):
    """One data set that the bundle was trained on."""

    name: str
    description: str
    source: str
    licence: str
    tiles: int = Field(ge=1)
    cells: int = Field(ge=1)


class Training(Part):
    """Provenance."""

    config: dict[str, JsonValue]
    data: tuple[DataSource, ...]
    code_version: str
    libraries: dict[str, str]
    iterations: int = Field(ge=1)


class ClusterMetrics(Part):
    """Per-cluster figures, measured when the bundle was made."""

    share: float = Field(ge=0, le=1, description="of the training cells")
    fidelity: float = Field(ge=0, le=1, description="share of generated cells that Q puts back")
    diversity: float | None = Field(ge=0, description="spread of 16 prototypes over that of 16 real cells")


class Metrics(Part):
    """How well the bundle learned."""

    loss_q: float
    rotation_agreement: float = Field(ge=0, le=1)
    clusters: tuple[ClusterMetrics, ...]
    onnx_max_difference: float = Field(ge=0)
    image_level: dict[str, JsonValue] = Field(description="of the label, on tiles or bags left out of its fit")


class Manifest(Part):
    """The bundle's description; every other file is named here with its checksum."""

    schema_version: Literal[1]
    name: str = Field(pattern=NAME_PATTERN)
    version: str
    created: str
    licence: str
    n_clusters: int = Field(ge=2, le=64)
    latent_size: int = Field(ge=1)
    mpp: float = Field(gt=0, description="µm per pixel that nuclei and crops are measured at")
    mpp_basis: str
    architecture: Architecture
    segmentation: SegmentationParams
    quality: QualityReference
    cluster_names: tuple[str, ...] | None = None
    image_level: ImageLevel
    training: Training
    metrics: Metrics
    files: dict[str, Sha256]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        k = self.n_clusters
        sizes: dict[str, Any] = {
            "image_level.svm.weights": self.image_level.svm.weights,
            "image_level.kmeans.centres[0]": self.image_level.kmeans.centres[0],
            "image_level.kmeans.centres[1]": self.image_level.kmeans.centres[1],
            "metrics.clusters": self.metrics.clusters,
        }
        if self.cluster_names is not None:
            sizes["cluster_names"] = self.cluster_names
        for field, values in sizes.items():
            if len(values) != k:
                raise ValueError(f"{field} must have n_clusters = {k} entries, found {len(values)}")
        if set(self.files) != set(FILES):
            raise ValueError(f"files must name {sorted(FILES)}, found {sorted(self.files)}")
        return self
