"""The manifest of a bundle, manifest.json: every number that decides an answer, and its origin."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from app.pipeline.cell_classifier import CellClassifier
from app.pipeline.descriptions import Descriptions
from app.pipeline.presets import (
    Appearance,
    Fraction,
    ManifestModel,
    NetworkParams,
    Positive,
    SegmentationParams,
    Sha256,
)
from app.pipeline.reference_ranges import ReferenceRanges
from app.pipeline.types import CropKind, Segmentation

SCHEMA_VERSION = 3
"""Version of the bundles that are written now. Bundles of version 2 are read, too: they lack what came with 3."""
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"

Q_ONNX = "q.onnx"
Q_FAST_ONNX = "q_fast.onnx"
GENERATOR_ONNX = "generator.onnx"
WEIGHTS = "weights.safetensors"
SEGMENTER_ONNX = "segmenter.onnx"
SEGMENTER_WEIGHTS = "segmenter.safetensors"
"""The same network as SEGMENTER_ONNX, for PyTorch."""
GOLDEN_CELLS = "golden/cells.png"
GOLDEN_EXPECTED = "golden/expected.json"
SAMPLE = "sample.png"
FILES = (Q_ONNX, GENERATOR_ONNX, WEIGHTS, GOLDEN_CELLS, GOLDEN_EXPECTED, SAMPLE)
"""Files that every bundle has."""

LabelValue = Literal["normal", "abnormal"]
Degrees = Annotated[float, Field(ge=0, le=360)]
Count = Annotated[int, Field(ge=1)]
ClusterCount = Annotated[int, Field(ge=2, le=64)]
N_STAIN_FEATURES = 12


class Architecture(ManifestModel):
    """What the PyTorch fallback needs to rebuild the networks."""

    channels: Count = Field(description="Every layer has this many channels.")
    code_scale: Positive = Field(description="The one-hot code at the generator's input is multiplied by this.")
    crops: CropKind = Field(
        default="nucleus",
        description="The networks see this of a cell: the nucleus alone on white, or what lies round it as well.",
    )
    encoder_width: Count | None = Field(
        default=None,
        description="Q stands on an encoder whose first layer has this many channels; null if it stands on the same "
        "kind of layers as the critic, as in the paper.",
    )


class Svm(ManifestModel):
    """L2-SVM on the descriptor of a tile: score = weights · descriptor + bias, and a positive score means abnormal."""

    weights: tuple[float, ...] = Field(
        description="The proportion of each of the K clusters has one of these weights, and after them each "
        "measurement of the descriptor, if it has any."
    )
    bias: float = Field(description="A tile has this score before any cluster contributes.")


class KMeans(ManifestModel):
    """Two centres in the space of proportions, and the label of each."""

    centres: tuple[tuple[float, ...], tuple[float, ...]] = Field(description="Each centre has K proportions.")
    labels: tuple[LabelValue, LabelValue] = Field(description="The centres have these labels, in the same order.")


class LabelCounts(ManifestModel):
    """How many examples there are of each label."""

    normal: int = Field(ge=0, description="This many examples are normal.")
    abnormal: int = Field(ge=0, description="This many examples are abnormal.")


class Calibration(ManifestModel):
    """Platt's sigmoid (1999): probability of abnormal = 1 / (1 + exp(−(slope · score + intercept)))."""

    slope: Positive = Field(
        description="The log odds of abnormal rise by this when the SVM's score rises by 1. A slope that is not "
        "positive would give a high score a low probability, and is refused."
    )
    intercept: float = Field(description="The log odds of abnormal are this at a score of 0.")
    tiles: LabelCounts = Field(
        description="The sigmoid was fitted to this many labelled tiles, each scored by an SVM that had not seen it."
    )


class Conformal(ManifestModel):
    """Limits of the scores that each label can have (jackknife-minmax, Barber et al. 2021, for groups of tiles).

    A unit is a patient or, if patients are not known, a tile. Each unit was left out of an SVM of its own, which scored
    its tiles. A tile is scored by all of these SVMs, and the score that suits a label best is held against its limit.
    """

    coverage: float = Field(
        gt=0,
        lt=1,
        description="A tile of a new unit has its own label among the possible ones with at least this probability, "
        "for each label, if the new unit is like the fitted ones. It is not promised if `units` is null.",
    )
    max_normal: float | None = Field(
        description="Normal tiles score at most this; null if there were too few units for a limit."
    )
    min_abnormal: float | None = Field(
        description="Abnormal tiles score at least this; null if there were too few units for a limit."
    )
    examples: LabelCounts = Field(description="The limits were fitted to this many tiles or simulated bags.")
    units: Literal["patients", "tiles"] | None = Field(
        default=None,
        description="What was left out together; null in bundles of earlier versions, which promise no coverage.",
    )
    n_units: LabelCounts | None = Field(
        default=None, description="The limits were fitted to this many units of each label; null as `units`."
    )
    without_a_normal: tuple[Svm, ...] = Field(
        default=(), description="Each of these SVMs was fitted without one of the units that have normal tiles."
    )
    without_an_abnormal: tuple[Svm, ...] = Field(
        default=(), description="Each of these SVMs was fitted without one of the units that have abnormal tiles."
    )

    @property
    def min_units(self) -> int:
        """How many units of a label its limit needs: with n of them, no more than n / (n + 1) can be covered."""
        return math.ceil(round(self.coverage / (1 - self.coverage), 6))

    @model_validator(mode="after")
    def _complete(self) -> Conformal:
        if self.units is not None:
            limits = {"normal": self.max_normal, "abnormal": self.min_abnormal}
            fitted = {"normal": self.without_a_normal, "abnormal": self.without_an_abnormal}
            if missing := [label for label, limit in limits.items() if limit is not None and not fitted[label]]:
                raise ValueError(f"a limit of {missing[0]} tiles needs the SVMs that it was fitted with, found none")
        return self


class ReferenceGroup(ManifestModel):
    """Tiles, or simulated ones, that a tile is compared with."""

    name: str = Field(min_length=1, description="The name says what the tiles of the group are.")
    is_simulated: bool = Field(
        description="True: the members are bags of cells drawn from several tiles. False: they are tiles."
    )
    proportions: tuple[tuple[float, ...], ...] = Field(
        min_length=1, description="Each member of the group has K proportions, 0 to 1."
    )


class Reference(ManifestModel):
    """Reference tiles, and the principal components on which a tile is shown among them (paper Fig. 10)."""

    groups: tuple[ReferenceGroup, ...] = Field(min_length=1)
    mean: tuple[float, ...] = Field(description="The origin of the principal components has these K proportions.")
    axes: tuple[tuple[float, ...], tuple[float, ...]] = Field(
        description="The first two principal components have K numbers each."
    )
    explained: tuple[Fraction, Fraction] = Field(
        description="The two components explain these shares of the variance, 0 to 1."
    )


class DescriptorMeasurement(ManifestModel):
    """A measurement in the descriptor of a tile: (median over its counted cells − centre) / scale."""

    measurement: str = Field(
        min_length=1, description="The measurement has this name in answers, where the scale is known."
    )
    title: str = Field(min_length=1, description="This is what it is called in words.")
    centre: float = Field(description="The medians of the reference tiles have this mean, in the measurement's unit.")
    scale: Positive = Field(
        description="They have this standard deviation, in the same unit; 1 if they are all the same."
    )


class ImageLevel(ManifestModel):
    """How the descriptor of a tile becomes its label; k-means and the reference tiles know the proportions alone."""

    descriptor: Literal["proportions", "proportions+measurements"] = Field(
        default="proportions",
        description="The SVM knows the proportions of a tile alone, or medians of measurements of its cells as well.",
    )
    measurements: tuple[DescriptorMeasurement, ...] = Field(
        default=(), description="These measurements follow the proportions in the descriptor."
    )
    label_basis: str = Field(
        min_length=1, description="It says what normal and abnormal mean in this bundle, and what was simulated."
    )
    min_cells: Count = Field(description="A tile with fewer counted cells gets no label.")
    svm: Svm
    kmeans: KMeans
    calibration: Calibration | None = Field(
        description="It turns the score into a probability; null if there were too few labelled tiles."
    )
    conformal: Conformal
    reference: Reference

    @model_validator(mode="after")
    def _measures_what_it_says(self) -> ImageLevel:
        if (self.descriptor == "proportions") == bool(self.measurements):
            found = ", ".join(one.measurement for one in self.measurements) or "none"
            raise ValueError(f"descriptor is '{self.descriptor}', but its measurements are: {found}")
        return self


class TileSurprise(ManifestModel):
    """How surprising the cells of a tile of the training data are on average, when their tile is left out of the fit.

    A tile of n cells is unlike the training tiles if the mean surprise of its cells is above
    mean + √(tile_margin² + cell_margin² / n).
    """

    mean: float = Field(description="The mean surprise of the cells of a training tile is this, on average, in nats.")
    tile_margin: float = Field(
        ge=0, description="A tile with very many cells may exceed that mean by this much, in nats."
    )
    cell_margin: float = Field(
        ge=0, description="A tile with a single cell may exceed it by about this much, because cells differ, in nats."
    )
    tiles: int = Field(ge=2, description="These numbers were measured on this many tiles.")

    def limit(self, n_cells: int) -> float:
        """Return the largest mean surprise that a tile of so many cells usually has.

        It is the end of a prediction interval for the mean of a new tile: tiles differ, and the cells of a tile differ.
        """
        return self.mean + math.hypot(self.tile_margin, self.cell_margin / n_cells**0.5)


class Outliers(ManifestModel):
    """When a cell is unlike the training cells, and when a tile is, because too many or all of its cells are."""

    components: int = Field(
        ge=1,
        description="Surprise is measured on this many principal components of Q's feature maps or, if Q has an "
        "encoder, of each picture in a crop: of its means, and of its spreads at several sizes.",
    )
    threshold: float = Field(
        description="A cell with a higher surprise is an outlier; surprise is in nats, up to a constant."
    )
    training_share: Fraction = Field(
        description="This share of training cells is above the threshold, when their tile is left out of the fit."
    )
    max_share: Fraction = Field(description="A tile with a higher share of outliers gets no label.")
    tile_surprise: TileSurprise | None = Field(
        default=None,
        description="A tile whose cells are more surprising on average gets no label; null if that was not measured.",
    )


class ClusterName(ManifestModel):
    """The name that somebody gave to a cluster."""

    cluster: int = Field(ge=0, description="The cluster has this number.")
    name: str = Field(min_length=1, max_length=80, description="The cluster has this name.")
    by: str = Field(min_length=1, max_length=80, description="This person gave the name.")
    when: str = Field(description="The name was given at this time, ISO 8601.")
    cells: int | None = Field(
        ge=1, description="The person looked at this many cells of the cluster; null if they did not state a number."
    )

    @field_validator("name")
    @classmethod
    def _fits_a_table(cls, value: str) -> str:
        if not value.isprintable() or value[0] in "=+-@":
            raise ValueError(f"must be one line of text that begins with none of =, +, - and @, found {value!r}")
        if value.casefold() == "outlier" or value.casefold().startswith("cluster "):
            raise ValueError(f"must not be 'outlier' or begin with 'cluster', found '{value}'")
        return value


class ClusterNames(ManifestModel):
    """The names that people gave to clusters; each change makes another version."""

    version: int = Field(ge=1, description="The names were changed this many times.")
    clusters: tuple[ClusterName, ...] = Field(description="Every cluster that has a name is listed once.")

    @field_validator("clusters")
    @classmethod
    def _once_each(cls, value: tuple[ClusterName, ...]) -> tuple[ClusterName, ...]:
        numbers = [named.cluster for named in value]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"must name each cluster once, found {sorted(numbers)}")
        names = [named.name.casefold() for named in value]
        if len(set(names)) != len(names):
            raise ValueError(f"must give each name once, found {', '.join(sorted(named.name for named in value))}")
        return value

    def of(self, cluster: int) -> str | None:
        """Return the name of a cluster, or None where it has none."""
        return next((named.name for named in self.clusters if named.cluster == cluster), None)


class QualityReference(ManifestModel):
    """What the training tiles look like, and how far a tile may differ from them before it is flagged."""

    stain_matrix: tuple[tuple[float, float, float], tuple[float, float, float]] = Field(
        description="The unit vectors of haematoxylin and eosin, after normalisation, have this mean."
    )
    stain_centre: tuple[float, ...] = Field(
        min_length=N_STAIN_FEATURES,
        max_length=N_STAIN_FEATURES,
        description="The stain before normalisation has these medians: means and spreads of l, α and β, and the "
        "vectors of haematoxylin and eosin.",
    )
    stain_scale: tuple[Positive, ...] = Field(
        min_length=N_STAIN_FEATURES,
        max_length=N_STAIN_FEATURES,
        description="The same features have these robust standard deviations.",
    )
    max_stain_distance: Positive = Field(
        description="A tile is flagged if its stain deviates by more than this, as the root mean square over the "
        "features, in these standard deviations."
    )
    hue_range_deg: tuple[Degrees, Degrees] = Field(
        description="Haematoxylin, eosin and their mixtures have hues in this range, in degrees of the "
        "hue-saturation-density transform."
    )
    min_saturation: float = Field(
        ge=0, description="A pixel with a lower saturation is grey, in the hue-saturation-density transform."
    )
    min_he_share: Fraction = Field(
        description="A tile is flagged as not H&E if a smaller share of its stain has these colours."
    )
    min_focus: Positive = Field(
        description="A tile is flagged as blurred if its energy of fine detail over that of coarse detail is lower."
    )
    max_blockiness: Positive = Field(
        description="A tile is flagged as compressed if the steps between JPEG's blocks exceed those beside them by "
        "more, as a multiple of the mean step."
    )
    min_tissue_fraction: Fraction = Field(description="A tile is flagged if a smaller share of its pixels is tissue.")
    max_clipped: Fraction = Field(
        description="A tile is flagged as badly exposed if a larger share of its tissue has a channel at 0 or 255."
    )
    nuclear_radius_range_px: tuple[Positive, Positive] = Field(
        description="The scale of a tile is suspect if the mean radius of its nuclei is outside this range, in px at "
        "the bundle's scale."
    )
    radius_over_focus_range_px: tuple[Positive, Positive] = Field(
        description="The scale of a tile is suspect if that radius over its focus is outside this range, because the "
        "size of details grows with that of nuclei."
    )
    min_nuclei: int = Field(ge=1, description="The scale of a tile with fewer measured nuclei is not judged.")

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


class DataSource(ManifestModel):
    """One data set that the bundle was trained on."""

    name: str = Field(description="The data set has this short name.")
    description: str = Field(description="It says what the tiles are.")
    source: str = Field(description="The data set was obtained from here.")
    licence: str = Field(description="The data set may be used under these terms.")
    tiles: int = Field(ge=1, description="This many tiles had cells.")
    cells: int = Field(ge=1, description="The networks were trained on this many cells.")


class Training(ManifestModel):
    """How and on what the bundle was trained."""

    config: dict[str, JsonValue] = Field(description="This is the whole configuration of the training.")
    data: tuple[DataSource, ...] = Field(description="The bundle was trained on these data sets.")
    code_version: str = Field(description="The bundle was made by this version of the package.")
    libraries: dict[str, str] = Field(description="These versions of libraries were used, by name.")
    iterations: Count = Field(description="The generator was updated this many times.")


class Adaptation(ManifestModel):
    """From which bundle and to which tiles a bundle was adapted; the networks are those of that bundle."""

    source: str = Field(description="It was adapted from the bundle of this name.")
    source_version: str = Field(description="That bundle had this version.")
    source_sha256: Sha256 = Field(description="That bundle's manifest had this SHA-256.")
    tiles: Count = Field(description="It was adapted to this many unlabelled tiles.")
    cells: Count = Field(description="This many cells were counted in them.")
    warnings: tuple[str, ...] = Field(
        description="What speaks against relying on the adaptation, in whole sentences; empty if nothing does."
    )


class ClusterMetrics(ManifestModel):
    """Figures of one cluster, measured when the bundle was made."""

    share: float = Field(ge=0, le=1, description="This share of the training cells is in the cluster.")
    fidelity: float = Field(
        ge=0, le=1, description="Q puts this share of the cells generated for the cluster back into it."
    )
    diversity: float | None = Field(
        ge=0,
        description="16 prototypes spread this many times as far as 16 real cells; null if that was not measured.",
    )


class Explained(ManifestModel):
    """Share of the variance of a trait of the training cells that lies between the clusters (η²).

    It is 1 if the cluster of a cell determines the trait, and 0 if the clusters do not differ in it. The traits are
    measured on the crops of the cells.
    """

    area: Fraction = Field(description="Area of the nucleus, as far as it lies in the crop.")
    density: Fraction = Field(description="Mean optical density of the nucleus.")
    eccentricity: Fraction = Field(description="Eccentricity of the nucleus.")
    contrast: Fraction = Field(
        description="Contrast of the chromatin: mean difference of optical density between neighbouring pixels."
    )


class Metrics(ManifestModel):
    """How well the bundle learned."""

    loss_q: float = Field(description="The loss L_Q (eq. 12) on generated cells is this many nats.")
    rotation_agreement: float = Field(
        ge=0, le=1, description="This share of crops stays in its cluster when it is rotated."
    )
    clusters: tuple[ClusterMetrics, ...] = Field(description="There are figures of each of the K clusters, by number.")
    explained: Explained | None = Field(
        default=None, description="What the clusters part the cells by; null in bundles of earlier versions."
    )
    onnx_max_difference: float = Field(
        ge=0, description="The outputs of ONNX Runtime and PyTorch differ by at most this."
    )
    image_level: dict[str, JsonValue] = Field(
        description="These metrics of the label were measured on tiles or bags that were left out of its fit."
    )


class QCalibration(ManifestModel):
    """How right Q's probabilities are, on cells whose tiles it had not learned from.

    For each fold of tiles, a Q of the same configuration learned from the other folds. Its probabilities were compared
    with the clusters that k-means gave the cells left out, which is what Q is taught.
    """

    temperature: Positive = Field(
        description="Q's logits are divided by this before they become probabilities. Above 1, Q was too sure of "
        "itself; below 1, not sure enough."
    )
    cells: Count = Field(description="The temperature was fitted to this many cells.")
    tiles: Count = Field(description="The cells are of this many tiles.")
    folds: int = Field(ge=2, description="The tiles were dealt into this many folds, each left out once.")
    held_out: Literal["patients", "tiles"] = Field(
        description="What was left out together: all tiles of a patient, or single tiles if patients were not known."
    )
    agreement: Fraction = Field(description="Q put this share of the cells left out into their cluster.")
    error_before: Fraction = Field(
        description="Without the temperature, Q's largest probability of a cell differed by this from the share of "
        "cells put into their cluster (expected calibration error, 15 bins)."
    )
    error_after: Fraction = Field(description="With a temperature fitted to the other folds, it differed by this.")


class FastAgreement(ManifestModel):
    """How well the fast Q agrees with the full one, on tiles that it was not fitted to."""

    tiles: int = Field(ge=1, description="This many tiles were held out.")
    cells: int = Field(ge=1, description="The tiles have this many cells.")
    clusters: Fraction = Field(description="Both put this share of the cells into the same cluster.")
    outliers: Fraction = Field(description="Both agree on this share of the cells whether they are outliers.")
    proportion_change: Fraction = Field(
        description="The proportion of a cluster over all of the cells differs by at most this."
    )
    worst_tile_proportion_change: Fraction = Field(
        description="The proportion of a cluster in any one tile differs by at most this."
    )
    features: float | None = Field(
        default=None,
        le=1,
        description="The fast features explain this share of the variance of the full ones; null if there are none.",
    )


class FastNetwork(ManifestModel):
    """A second Q that gives nearly the same answer in less time."""

    kind: Literal["int8"] = Field(
        description="int8 means that the convolutions of q.onnx are in 8-bit integers, with heads fitted to them."
    )
    fitted_cells: int = Field(ge=1, description="Its scales and heads were fitted to this many real cells.")
    agreement: FastAgreement
    tolerance: Positive = Field(description="It may differ from its golden pair by at most this.")


class Manifest(ManifestModel):
    """The description of a bundle. It names every other file of the bundle, with its checksum."""

    schema_version: Literal[2, 3] = Field(description="The document has this version of the schema.")
    name: str = Field(pattern=NAME_PATTERN, description="The bundle and its directory have this name.")
    version: str = Field(description="The bundle has this version.")
    created: str = Field(description="The bundle was made at this time, ISO 8601.")
    licence: str = Field(description="The bundle may be used under these terms.")
    n_clusters: ClusterCount = Field(description="The bundle has this many clusters, K.")
    latent_size: Count = Field(description="The generator's noise z has this many numbers.")
    mpp: Positive = Field(description="Nuclei and crops are measured at this many µm per pixel.")
    mpp_basis: str = Field(description="It says where that number comes from.")
    architecture: Architecture
    segmentation: SegmentationParams = Field(description="Nuclei are found with these parameters.")
    appearance: Appearance | None = Field(
        default=None,
        description="How the training tiles look, to which tiles of another laboratory can be adapted; null in bundles "
        "of earlier versions.",
    )
    quality: QualityReference
    outliers: Outliers
    cluster_names: ClusterNames | None = Field(default=None, description="It is null if nobody has named any cluster.")
    descriptions: Descriptions | None = Field(
        default=None,
        description="What sets each cluster apart in measurements; null in bundles of earlier versions.",
    )
    image_level: ImageLevel
    reference_ranges: ReferenceRanges | None = Field(
        default=None,
        description="It says between which limits the reference tiles lie; null in bundles of earlier versions, and "
        "if there are fewer than two such tiles.",
    )
    q_calibration: QCalibration | None = Field(
        default=None,
        description="It says how right Q's probabilities are; null if that was not measured, and the probabilities are "
        "then those of Q as it is.",
    )
    cell_classifier: CellClassifier | None = Field(
        default=None,
        description="It gives each cell a type that people have named; null if nobody has taught the bundle any, and "
        "in bundles of earlier versions.",
    )
    adaptation: Adaptation | None = Field(
        default=None, description="It is null if the bundle was not adapted to a laboratory."
    )
    training: Training
    metrics: Metrics
    fast: FastNetwork | None = Field(
        default=None,
        description=f"It describes {Q_FAST_ONNX}; null if there is none, and the full Q answers every request.",
    )
    files: dict[str, Sha256] = Field(description="Every other file of the bundle is listed with its SHA-256.")

    @property
    def temperature(self) -> float:
        """What Q's logits are divided by; 1 if its probabilities were not measured."""
        return self.q_calibration.temperature if self.q_calibration else 1.0

    @property
    def n_features(self) -> int:
        """How many features Q gives of a cell; 0 if it has no encoder of its own; see `architecture.Encoder`."""
        return 8 * (self.architecture.encoder_width or 0)

    @property
    def own_segmentation(self) -> Segmentation:
        """What finds the nuclei where nobody uploads them: this bundle."""
        return Segmentation("bundle", self.segmentation.preset, f"{self.name} {self.version}")

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        k = self.n_clusters
        sizes: dict[str, Any] = {
            "image_level.kmeans.centres[0]": self.image_level.kmeans.centres[0],
            "image_level.kmeans.centres[1]": self.image_level.kmeans.centres[1],
            "image_level.reference.mean": self.image_level.reference.mean,
            "image_level.reference.axes[0]": self.image_level.reference.axes[0],
            "image_level.reference.axes[1]": self.image_level.reference.axes[1],
            "metrics.clusters": self.metrics.clusters,
        }
        if self.reference_ranges is not None:
            sizes["reference_ranges.proportions"] = self.reference_ranges.proportions
        if self.descriptions:
            sizes["descriptions.clusters"] = self.descriptions.clusters
        for group in self.image_level.reference.groups:
            sizes |= {f"proportions[{i}] of '{group.name}'": row for i, row in enumerate(group.proportions)}
        names = self.cluster_names.clusters if self.cluster_names else ()
        unknown = [named.cluster for named in names if named.cluster >= k]
        if unknown:
            raise ValueError(f"cluster_names may name clusters 0 to {k - 1}, found {unknown}")
        for field, values in sizes.items():
            if len(values) != k:
                raise ValueError(f"{field} must have n_clusters = {k} numbers, found {len(values)}")
        self._check_svms()
        self._check_cell_classifier()
        wanted = {*FILES, *([Q_FAST_ONNX] if self.fast else []), *segmenter_files(self.segmentation)}
        if set(self.files) != wanted:
            raise ValueError(f"files must name {sorted(wanted)}, found {sorted(self.files)}")
        return self

    def _check_svms(self) -> None:
        """Raise a ValueError if an SVM has another number of weights than the descriptor has numbers."""
        level, measured = self.image_level, len(self.image_level.measurements)
        fitted = (*level.conformal.without_a_normal, *level.conformal.without_an_abnormal)
        svms = {"image_level.svm.weights": level.svm}
        svms |= {f"weights of SVM {i} of image_level.conformal": svm for i, svm in enumerate(fitted)}
        for field, svm in svms.items():
            if len(svm.weights) != self.n_clusters + measured:
                more = f", and one for each of the {measured} measurements" if measured else ""
                raise ValueError(
                    f"{field} must have n_clusters = {self.n_clusters} numbers{more}, found {len(svm.weights)}"
                )

    def _check_cell_classifier(self) -> None:
        """Raise a ValueError if the cell classifier needs other numbers of a cell than the bundle has."""
        classifier = self.cell_classifier
        if classifier is None:
            return
        if not self.n_features:
            raise ValueError("cell_classifier needs features of cells, and the bundle has no encoder")
        wanted = classifier.numbers_of(self.n_features)
        if len(classifier.mean) != wanted:
            raise ValueError(f"cell_classifier.mean must have {wanted} numbers, found {len(classifier.mean)}")


def segmenter_files(params: SegmentationParams) -> tuple[str, ...]:
    """Return the files of the network that finds nuclei; none where the parameters need no network."""
    return (SEGMENTER_ONNX, SEGMENTER_WEIGHTS) if isinstance(params, NetworkParams) else ()
