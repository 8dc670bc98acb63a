"""manifest.json of a bundle: every number that decides an answer, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from app.pipeline.presets import Fraction, Part, Positive, SegmentationParams

SCHEMA_VERSION = 2
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

Q_ONNX = "q.onnx"
Q_FAST_ONNX = "q_fast.onnx"
GENERATOR_ONNX = "generator.onnx"
WEIGHTS = "weights.safetensors"
GOLDEN_CELLS = "golden/cells.png"
GOLDEN_EXPECTED = "golden/expected.json"
SAMPLE = "sample.png"
FILES = (Q_ONNX, GENERATOR_ONNX, WEIGHTS, GOLDEN_CELLS, GOLDEN_EXPECTED, SAMPLE)
"""Those that every bundle has."""

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
LabelValue = Literal["normal", "abnormal"]
Degrees = Annotated[float, Field(ge=0, le=360)]
N_STAIN_FEATURES = 12


class Architecture(Part):
    """What the PyTorch fallback needs to rebuild the networks."""

    channels: int = Field(ge=1, description="width of every layer")
    code_scale: float = Field(gt=0, description="factor on the one-hot code at G's input")


class Svm(Part):
    """L2-SVM on proportions: score = weights · P + bias, positive = abnormal."""

    weights: tuple[float, ...] = Field(description="of each cluster's proportion, K numbers")
    bias: float = Field(description="score before any cluster contributes")


class KMeans(Part):
    """Two centres in proportion space, and the label of each."""

    centres: tuple[tuple[float, ...], tuple[float, ...]] = Field(description="proportions, K numbers each")
    labels: tuple[LabelValue, LabelValue] = Field(description="of the centres, in their order")


class LabelCounts(Part):
    """How many examples there are of each label."""

    normal: int = Field(ge=0, description="of normal")
    abnormal: int = Field(ge=0, description="of abnormal")


class Calibration(Part):
    """Platt's sigmoid (1999): probability of abnormal = 1 / (1 + exp(−(slope · score + intercept)))."""

    slope: float = Field(description="per unit of the SVM's score")
    intercept: float = Field(description="log odds at score 0")
    tiles: LabelCounts = Field(
        description="labelled tiles that it rests on, each scored by an SVM that had not seen it"
    )


class Conformal(Part):
    """Scores that each label can have, from examples that the SVM had not seen (Vovk 2015)."""

    coverage: Fraction = Field(description="share of each label's examples that these limits hold")
    max_normal: float | None = Field(description="highest score of a normal tile; null: too few examples for a limit")
    min_abnormal: float | None = Field(description="lowest score of an abnormal tile; null: likewise")
    examples: LabelCounts = Field(description="that the limits rest on")


class ReferenceGroup(Part):
    """Tiles, or simulated ones, that a tile is shown beside."""

    name: str = Field(min_length=1, description="what they are")
    is_simulated: bool = Field(description="whether they are bags of resampled cells instead of tiles")
    proportions: tuple[tuple[float, ...], ...] = Field(min_length=1, description="of each of them, K numbers of 0–1")


class Reference(Part):
    """Where proportions lie among those of the training tiles (paper Fig. 10)."""

    groups: tuple[ReferenceGroup, ...] = Field(min_length=1)
    mean: tuple[float, ...] = Field(description="proportions at the origin of the principal components, K numbers")
    axes: tuple[tuple[float, ...], tuple[float, ...]] = Field(description="first two principal components, K numbers")
    explained: tuple[Fraction, Fraction] = Field(description="their shares of the variance")


class ImageLevel(Part):
    """From proportions to the tile's label."""

    label_basis: str = Field(min_length=1, description="what normal and abnormal mean here; says what was simulated")
    min_cells: int = Field(ge=1, description="cells below which no label is given")
    svm: Svm
    kmeans: KMeans
    calibration: Calibration | None = Field(description="of score to probability; null: too few labelled tiles")
    conformal: Conformal
    reference: Reference


class Outliers(Part):
    """When a cell is unlike the training cells, and when a tile holds too many of such."""

    components: int = Field(ge=1, description="principal components of Q's maps that surprise is measured on")
    threshold: float = Field(description="surprise above which a cell is an outlier, in nats but for a constant")
    training_share: Fraction = Field(description="share of training cells above it, each of a tile left out of the fit")
    max_share: Fraction = Field(description="share of outliers in a tile above which it gets no label")


class ClusterName(Part):
    """What somebody calls a cluster."""

    cluster: int = Field(ge=0, description="which")
    name: str = Field(min_length=1, max_length=80, description="what it is called")
    by: str = Field(min_length=1, max_length=80, description="who says so")
    when: str = Field(description="when, ISO 8601")
    cells: int | None = Field(ge=1, description="how many of its cells they looked at; null: they did not say")

    @field_validator("name")
    @classmethod
    def _can_stand_in_a_table(cls, value: str) -> str:
        if not value.isprintable() or value[0] in "=+-@":
            raise ValueError(
                f"must be one line that a spreadsheet takes for text, not begin with =, +, - or @: {value!r}"
            )
        if value.casefold() == "outlier" or value.casefold().startswith("cluster "):
            raise ValueError(f"must not be taken for an outlier's or another cluster's, found '{value}'")
        return value


class ClusterNames(Part):
    """The names that clusters were given; each change makes another version."""

    version: int = Field(ge=1, description="how often names were changed")
    clusters: tuple[ClusterName, ...] = Field(description="those that have one")

    @field_validator("clusters")
    @classmethod
    def _once_each(cls, value: tuple[ClusterName, ...]) -> tuple[ClusterName, ...]:
        named = [entry.cluster for entry in value]
        if len(set(named)) != len(named):
            raise ValueError(f"must name each cluster once, found {sorted(named)}")
        names = [entry.name.casefold() for entry in value]
        if len(set(names)) != len(names):
            raise ValueError(f"must give each name once, found {', '.join(sorted(entry.name for entry in value))}")
        return value

    def of(self, cluster: int) -> str | None:
        """Its name, if it has one."""
        return next((entry.name for entry in self.clusters if entry.cluster == cluster), None)


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
    radius_over_focus_range_px: tuple[Positive, Positive] = Field(
        description="low and high of the same over focus, outside which the scale is suspect: detail scales with nuclei"
    )
    min_nuclei: int = Field(ge=1, description="radii below which the scale is not judged")

    @field_validator("hue_range_deg", "nuclear_radius_range_px", "radius_over_focus_range_px")
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

    name: str = Field(description="short name")
    description: str = Field(description="what its tiles are")
    source: str = Field(description="where it is from")
    licence: str = Field(description="its terms")
    tiles: int = Field(ge=1, description="tiles with cells")
    cells: int = Field(ge=1, description="cells that were trained on")


class Training(Part):
    """Provenance."""

    config: dict[str, JsonValue] = Field(description="the configuration, whole")
    data: tuple[DataSource, ...] = Field(description="what was trained on")
    code_version: str = Field(description="of this package")
    libraries: dict[str, str] = Field(description="versions, by name")
    iterations: int = Field(ge=1, description="generator iterations")


class ClusterMetrics(Part):
    """Per-cluster figures, measured when the bundle was made."""

    share: float = Field(ge=0, le=1, description="of the training cells")
    fidelity: float = Field(ge=0, le=1, description="share of generated cells that Q puts back")
    diversity: float | None = Field(ge=0, description="spread of 16 prototypes over that of 16 real cells")


class Metrics(Part):
    """How well the bundle learned."""

    loss_q: float = Field(description="L_Q (eq. 12) on generated cells, nats")
    rotation_agreement: float = Field(ge=0, le=1, description="share of crops that stay in their cluster when turned")
    clusters: tuple[ClusterMetrics, ...] = Field(description="by number")
    onnx_max_difference: float = Field(ge=0, description="largest difference between ONNX and PyTorch")
    image_level: dict[str, JsonValue] = Field(description="of the label, on tiles or bags left out of its fit")


class FastAgreement(Part):
    """How far the fast Q says what the full one says, of cells on tiles that it was not fitted to."""

    tiles: int = Field(ge=1, description="held out")
    cells: int = Field(ge=1, description="on them")
    clusters: Fraction = Field(description="share of the cells that both put into the same cluster")
    outliers: Fraction = Field(description="share of the cells that both call an outlier, or neither does")
    proportion_change: Fraction = Field(
        description="largest difference of a cluster's proportion, over all of the cells"
    )
    worst_tile_proportion_change: Fraction = Field(description="likewise, over one tile; the largest of any")


class FastNetwork(Part):
    """A second Q that says nearly the same in less time."""

    kind: Literal["int8"] = Field(
        description="int8: q.onnx with its convolutions in 8-bit integers, and heads that were fitted to that"
    )
    fitted_cells: int = Field(ge=1, description="real cells that set its scales and its heads")
    agreement: FastAgreement
    tolerance: Positive = Field(description="largest difference from its golden pair that is allowed")


class Manifest(Part):
    """The bundle's description; every other file is named here with its checksum."""

    schema_version: Literal[2] = Field(description="of this document's form")
    name: str = Field(pattern=NAME_PATTERN, description="also of its directory")
    version: str = Field(description="of the bundle")
    created: str = Field(description="when, ISO 8601")
    licence: str = Field(description="of the bundle")
    n_clusters: int = Field(ge=2, le=64, description="K")
    latent_size: int = Field(ge=1, description="length of z")
    mpp: float = Field(gt=0, description="µm per pixel that nuclei and crops are measured at")
    mpp_basis: str = Field(description="where that number comes from")
    architecture: Architecture
    segmentation: SegmentationParams = Field(description="how nuclei are found")
    quality: QualityReference
    outliers: Outliers
    cluster_names: ClusterNames | None = Field(default=None, description="null: nobody has named any")
    image_level: ImageLevel
    training: Training
    metrics: Metrics
    fast: FastNetwork | None = Field(
        default=None, description=f"{Q_FAST_ONNX}; null: there is none, and the full network answers every request"
    )
    files: dict[str, Sha256] = Field(description="every other file, with its SHA-256")

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        k = self.n_clusters
        sizes: dict[str, Any] = {
            "image_level.svm.weights": self.image_level.svm.weights,
            "image_level.kmeans.centres[0]": self.image_level.kmeans.centres[0],
            "image_level.kmeans.centres[1]": self.image_level.kmeans.centres[1],
            "image_level.reference.mean": self.image_level.reference.mean,
            "image_level.reference.axes[0]": self.image_level.reference.axes[0],
            "image_level.reference.axes[1]": self.image_level.reference.axes[1],
            "metrics.clusters": self.metrics.clusters,
        }
        for group in self.image_level.reference.groups:
            sizes |= {f"proportions[{i}] of '{group.name}'": row for i, row in enumerate(group.proportions)}
        names = self.cluster_names.clusters if self.cluster_names else ()
        unknown = [entry.cluster for entry in names if entry.cluster >= k]
        if unknown:
            raise ValueError(f"cluster_names must be of clusters 0 to {k - 1}, found {unknown}")
        for field, values in sizes.items():
            if len(values) != k:
                raise ValueError(f"{field} must have n_clusters = {k} entries, found {len(values)}")
        wanted = {*FILES, Q_FAST_ONNX} if self.fast else set(FILES)
        if set(self.files) != wanted:
            raise ValueError(f"files must name {sorted(wanted)}, found {sorted(self.files)}")
        return self
