"""The JSON of every answer, field by field; openapi.json is made from it."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.pipeline.cell_classifier import Lineage
from app.pipeline.descriptions import ClusterDescription
from app.pipeline.headers.declared_scale import MppSource
from app.pipeline.manifest import LabelCounts, LabelValue, Manifest
from app.pipeline.measure.table import Group
from app.pipeline.networks.backend import Precision
from app.pipeline.types import Float32Array

CANDIDATES = (
    "Candidates for megakaryocytes: nuclei, or lobes that touch, of at least {diameter:g} µm with wide cytoplasm. They "
    "were not compared with a person's count."
)
NOTICE = "For Research Use Only. Not for use in diagnostic procedures."


def _decimals(n: int) -> AfterValidator:
    """Round a number to n decimals, so that an answer shows no digits that mean nothing."""

    def rounded(value: float) -> float:
        return round(value, n)

    return AfterValidator(rounded)


Fraction = Annotated[float, Field(ge=0, le=1)]
Rounded = Annotated[float, _decimals(6)]
Milliseconds = Annotated[float, _decimals(3)]
Point = tuple[float, float]
MissingReason = Literal[
    "touches_border", "too_few_pixels", "no_stain", "no_cytoplasm", "near_border", "no_neighbour", "not_defined"
]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, from_attributes=True)


class TileOut(_Answer):
    """The uploaded tile."""

    width: int = Field(description="Width of the upload in px.")
    height: int = Field(description="Height of the upload in px.")
    mpp: float | None = Field(
        description="Scale of the upload in µm per pixel, 0.05 to 4, as the request gave it, or else as the file says; "
        "null if neither says it, and the tile was taken to be at the bundle's scale."
    )
    mpp_source: MppSource = Field(
        description="Where the scale comes from: request, the parameter mpp; ome_xml, imagej, aperio, tiff_resolution, "
        "png_phys or jfif, the metadata of the file; objective, the power of the objective in the file, from which the "
        "scale was estimated; slide_metadata, what a slide scanner wrote; bundle, nobody said it."
    )
    sha256: str = Field(description="SHA-256 of the uploaded bytes, in hexadecimal.")
    cut_nuclei: int = Field(
        description="Number of nuclei that the tile's border cuts by more than half. They are not among the cells."
    )


class FlagOut(_Answer):
    """Something about the tile that the reader of its results should know."""

    code: str = Field(
        description="Code of the flag: blurred, compressed, little_tissue, saturated, no_stain, not_he, "
        "stain_out_of_range, mpp_unknown, scale_suspect, scale_conflict, mpp_from_objective, orientation_ignored, "
        "icc_profile_ignored, few_cells, many_outliers, unlike_training_tiles, nuclei_uploaded or "
        "upload_nuclei_dropped."
    )
    message: str = Field(description="What was found, in a sentence, with the measured value and its limit.")
    value: Rounded | None = Field(
        description="The measured value. It is a ratio for blurred and compressed; a share of 0 to 1 for "
        "little_tissue, saturated, not_he and many_outliers; a number of robust standard deviations for "
        "stain_out_of_range; the mean nuclear radius, or that radius over focus, in px at the bundle's scale, for "
        "scale_suspect; the difference as a share of the file's scale for scale_conflict; a number of cells for "
        "few_cells; the mean surprise of the cells, in nats up to a constant, or the distance of the medians from "
        "those of the reference tiles, in half reference ranges, for unlike_training_tiles; a number of nuclei for "
        "upload_nuclei_dropped; and null for no_stain, mpp_unknown, mpp_from_objective, orientation_ignored, "
        "icc_profile_ignored and nuclei_uploaded."
    )
    threshold: Rounded | None = Field(
        description="The limit that the value passed, in the same unit; null where the value is null."
    )
    prevents_label: bool = Field(description="Whether the tile's label is indeterminate because of this flag.")


class QualityOut(_Answer):
    """What was measured on the tile as a picture."""

    focus: Annotated[float, _decimals(4)] = Field(
        description="Sharpness of the tissue: the energy of fine detail over that of coarse detail, without a unit. A "
        "sharper tile has more; 0 means that there is too little tissue to measure it."
    )
    stain_distance: Annotated[float, _decimals(3)] | None = Field(
        description="Distance of the tile's stain from that of the training tiles, in robust standard deviations: the "
        "root mean square over the mean and spread of lαβ and both stain vectors. It is null if two stains could not "
        "be told apart."
    )
    tissue_fraction: Annotated[Fraction, _decimals(6)] = Field(
        description="Share of the tile's pixels that are tissue, 0 to 1."
    )
    flags: list[FlagOut] = Field(description="What is wrong with the tile. The list is empty if nothing was found.")


class CellOut(_Answer):
    """One cell; coordinates are pixels of the uploaded tile, origin at the top-left corner, x right, y down."""

    id: int = Field(description="Number of the cell in this answer, from 0, in the order of the list.")
    centroid: Point = Field(description="Centre of gravity of the nucleus: x and y in px.")
    bbox: tuple[int, int, int, int] = Field(
        description="Bounding box of the nucleus: x0, y0, x1 and y1 in px. x1 and y1 are exclusive."
    )
    area_px: int = Field(description="Area of the nucleus in px of the uploaded tile, at least 1.")
    contour: list[Point] = Field(
        description="Outer outline of the nucleus through the centres of its outermost pixels: x and y of each point "
        "in px. The first point is not repeated at the end."
    )
    touches_border: bool = Field(description="Whether the tile's border cuts the nucleus, or may do so.")
    cluster: int = Field(description="Number of the most probable cluster, from 0 to K − 1.")
    probabilities: list[Fraction] = Field(
        description="Probability of each of the K clusters, from the network Q, 0 to 1. They sum to 1. They are "
        "calibrated on cells that Q had not learned from if bundle.q_calibrated is true."
    )
    outlier: bool = Field(
        description="Whether the cell is unlike the training cells of every cluster. No cluster counts such a cell."
    )
    type: str | None = Field(
        default=None,
        exclude_if=lambda name: name is None,
        description="Name of the cell's type, one of those that people have taught the bundle; null if none of them is "
        "probable enough. Of a corrected cell it is the type that the request gives. Outliers have a type, too, but "
        "are not counted. The field is left out if the bundle has no cell classifier.",
    )
    type_probability: Fraction | None = Field(
        default=None,
        exclude_if=lambda probability: probability is None,
        description="Probability of that type, 0 to 1, calibrated on named cells that were left out; null where the "
        "type is, and 1 of a corrected cell. The field is left out if the bundle has no cell classifier.",
    )
    type_corrected: bool = Field(
        default=False,
        exclude_if=lambda corrected: not corrected,
        description="Whether a person gave the cell this type, with the field corrections of the request, and not the "
        "cell classifier. The field is left out if not.",
    )
    measurements: dict[str, float | None] | None = Field(
        default=None,
        exclude_if=lambda measured: measured is None,
        description="Measurements of the nucleus, of the cytoplasm round it and of its neighbours, by name. The name "
        "of a size ends in its unit: um2, um and od_per_um, or px and od_per_px where the scale of the tile is not "
        "known. docs/measurements.md defines each. A measurement is null if it could not be taken; `not_measured` then "
        "says why. The field is left out if the request says measurements=false.",
    )
    not_measured: dict[str, MissingReason] | None = Field(
        default=None,
        exclude_if=lambda reasons: reasons is None,
        description="Why measurements are null, by name: touches_border, the tile's border cuts the nucleus; "
        "too_few_pixels, it has fewer than 5 pixels or is as thin as a line; no_stain, two stains could not be told "
        "apart; no_cytoplasm, too little cytoplasm is seen between the nucleus, its neighbours and the glass; "
        "near_border, neighbours may lie beyond the tile's border; no_neighbour, there is no other nucleus; "
        "not_defined, the formula has no value, because all pixels of the nucleus are alike. The field is left out if "
        "nothing is missing.",
    )
    features: str | None = Field(
        default=None,
        exclude_if=lambda features: features is None,
        description="What the encoder of the network Q sees of the cell: numbers of 16 bits (IEEE 754 binary16, little "
        "endian) in base64. Cells that look alike have features that are close. They can be compared only with those "
        "of the same bundle and precision. The field is left out unless the request says features=true.",
    )


class VeryLargeNucleusOut(_Answer):
    """One nucleus that may be a megakaryocyte's."""

    cells: list[int] = Field(description="Numbers of the cells that are its lobes, the largest first.")
    equivalent_diameter_um: Annotated[float, _decimals(3)] = Field(
        description="Diameter in µm of the disc that has the area of all lobes together."
    )


class VeryLargeNucleiOut(_Answer):
    """Very large nuclei, which may be those of megakaryocytes. Nobody has validated them."""

    count: int = Field(description="Number of very large nuclei.")
    per_mm2: Annotated[float, _decimals(3)] | None = Field(
        description="That number per mm² of tissue, fat included; null if the scale is not known, or without tissue."
    )
    min_diameter_um: float = Field(
        description="Equivalent diameter in µm from which on a nucleus, or touching lobes together, are very large. "
        "Where the scale of the tile is not known, it is taken to be the bundle's."
    )
    nuclei: list[VeryLargeNucleusOut] = Field(description="The very large nuclei, the largest first.")
    notice: str = Field(description="What these nuclei are, and what they are not.")


class OutliersOut(_Answer):
    """The cells that are unlike any training cell. No cluster counts them."""

    count: int = Field(description="Number of outliers.")
    share: Fraction | None = Field(description="Share of all cells, 0 to 1; null if there is no cell.")


class RangeOut(_Answer):
    """The range of a quantity over the bundle's reference tiles, from 2.5% to 97.5%, as a laboratory report has it.

    It holds 95% of further tiles that are like the reference tiles and have as many cells as this tile. A tile with
    fewer cells than the reference tiles has a wider range. A slide has the range of tiles, although whole slides differ
    less than tiles do: what is low or high for a slide is so all the more.
    """

    low: Rounded = Field(description="Lower limit, in the unit of the quantity.")
    high: Rounded = Field(description="Upper limit, in the unit of the quantity.")
    low_interval: tuple[Rounded, Rounded] = Field(
        description="The true lower limit lies between these with 90% confidence."
    )
    high_interval: tuple[Rounded, Rounded] = Field(
        description="The true upper limit lies between these with 90% confidence."
    )
    n_tiles: int = Field(description="Number of reference tiles that the range rests on.")
    n_patients: int | None = Field(
        description="Number of patients that these tiles are of; null if the bundle does not know patients."
    )
    indicative: bool = Field(
        description="Whether the range is no more than an indication: CLSI EP28-A3c asks for 120 reference subjects, "
        "and the bundle is not known to have as many patients."
    )
    flag: Literal["low", "within", "high"] | None = Field(
        description="Whether the quantity is below the range, within it or above it. It is null if the tile has no "
        "such quantity, if there are fewer than five reference tiles, or if all of them have the same value."
    )


class WithinOut(_Answer):
    """Whether all proportions together lie where those of the reference tiles lie."""

    value: bool = Field(
        description="True if the composition lies within the region that holds 95% of further tiles like the "
        "reference tiles. It rests on reference tiles alone, with no abnormal and no simulated one, and does not "
        "change label.value. Whole slides differ less than tiles do, and lie within it more often."
    )
    distance: Rounded = Field(
        description="Distance from the mean of the reference tiles, as a Mahalanobis distance of log-ratios of the "
        "proportions, in standard deviations."
    )
    threshold: Rounded = Field(description="The composition lies within the region up to this distance.")
    n_tiles: int = Field(description="Number of reference tiles that the region rests on.")


class MeasurementOut(_Answer):
    """One measurement over the counted cells of the tile, outliers left out."""

    measurement: str = Field(
        description="Name of the measurement; a size has its unit at the end, px where the scale of the tile is not "
        "known."
    )
    title: str = Field(description="What is measured, in words.")
    group: Group = Field(
        description="What it is measured on: shape, the outline of the nucleus; density, its stains; cytoplasm, the "
        "ring round it; chromatin, the texture of the nucleus; neighbours, the other nuclei."
    )
    unit: str = Field(
        description="Unit of all numbers: um2 (µm²), um (µm), px (for areas and lengths), od (optical density), "
        "od_per_um, od_per_px, bits or count; empty if they have none."
    )
    n: int = Field(description="Number of counted cells on which it could be measured.")
    median: Rounded | None = Field(description="Median of these cells; null if there is none.")
    quartiles: tuple[Rounded, Rounded] | None = Field(
        description="First and third quartile of these cells; null if there is none."
    )
    reference: RangeOut | None = Field(
        description="Range of the medians of the reference tiles; null if the bundle has none."
    )


class TissueOut(_Answer):
    """What the tile consists of: the share that each kind of tissue has of it.

    The five shares sum to 1. They come from colours, nuclei and the shape of holes, by rules that were not trained, and
    have not been compared with the estimates of a person.
    """

    area_mm2: Annotated[float, _decimals(6)] | None = Field(
        description="Area of the tile in mm², background included; null if the scale of the tile is not known."
    )
    cellularity: Fraction | None = Field(
        description="Haematopoietic tissue over haematopoietic tissue and fat, 0 to 1. It is null if the tile shows "
        "neither, or if no two stains could be told apart; `reason` says which."
    )
    haematopoietic: Fraction | None = Field(
        description="Share of the tile, 0 to 1, where nuclei stand close together, with the cytoplasm round them. It "
        "is null if no two stains could be told apart."
    )
    fat: Fraction = Field(
        description="Share of the tile, 0 to 1, that is fat vacuoles: bright, rounded holes of 15 to 130 µm in tissue."
    )
    bone_and_stroma: Fraction | None = Field(
        description="Share of the tile, 0 to 1, that is any other tissue: bone, fibres, the walls and the plasma of "
        "vessels. It is null if no two stains could be told apart."
    )
    red_cells: Fraction | None = Field(
        description="Share of the tile, 0 to 1, that is crowds of red cells without nuclei among them. It is null if "
        "no two stains could be told apart."
    )
    background: Fraction = Field(
        description="Share of the tile, 0 to 1, that is no tissue: glass, tears, empty vessels, and what the scanner "
        "left black."
    )
    reference: RangeOut | None = Field(
        default=None,
        description="Range of the cellularity of the reference tiles; null if the bundle has none. It is not adapted "
        "to the size of the tile, and not to the age of a patient.",
    )
    reason: str | None = Field(description="Why there is no cellularity, in a sentence; null if there is one.")


class ClusterOut(_Answer):
    """One cluster, and its share of the tile's cells."""

    cluster: int = Field(description="Number of the cluster, from 0 to K − 1.")
    name: str | None = Field(
        description="Name that somebody gave the cluster; null if it has none. GET /bundles/{name} shows who named it "
        "and when."
    )
    color: str = Field(description="Colour of the cluster's cells as #rrggbb, on the page, in pictures and in QuPath.")
    count: int = Field(description="Number of cells in the cluster, without outliers.")
    proportion: Fraction | None = Field(
        description="Count of the cluster over the sum of all counts, 0 to 1; null if that sum is 0."
    )
    interval: tuple[Fraction, Fraction] | None = Field(
        description="Low and high end of the proportion's confidence interval, 0 to 1. With 95% confidence or more, "
        "the intervals of all clusters together hold the shares of cells that belong to each cluster in the tissue "
        "that these cells are a random sample of. An interval is wider the fewer the cells and the less sure Q is of "
        "them, and need not lie evenly round the proportion. It relies on the probabilities of the cells: if "
        "bundle.q_calibrated is false, nobody has measured how right they are. It is null where the proportion is."
    )
    reference: RangeOut | None = Field(
        default=None,
        description="Range of this proportion over the reference tiles; null if the bundle has none.",
    )
    contribution: float | None = Field(
        description="What the cluster adds to the label's score, in units of the score: the SVM's weight times the "
        "proportion. The contributions of all clusters, those in label.measurement_contributions, and label.bias "
        "add up to label.score. It is null where the score is."
    )
    description: ClusterDescription | None = Field(
        default=None,
        description="What sets the cluster apart from the others, measured when the bundle was made; null in bundles "
        "of earlier versions, and in regions of a slide, whose summary says it once.",
    )
    prototypes_url: str = Field(
        description="Address of cells that the generator draws of this cluster, relative to that of POST /analyze."
    )
    prototypes: list[str] | None = Field(
        default=None,
        exclude_if=lambda cells: cells is None,
        description="Generated cells of this cluster, each a base64 PNG of 32 × 32 px. The field is left out unless "
        "the request asks for prototypes.",
    )


class TypeOut(_Answer):
    """One type of cells that people have taught the bundle, and its share of the tile's cells."""

    type: str = Field(description="Name of the type, as people gave it.")
    color: str = Field(description="Colour of its cells as #rrggbb, on the page, in pictures and in QuPath.")
    lineage: Lineage | None = Field(
        description="The side of the myeloid to erythroid ratio on which its cells count; null if on neither."
    )
    count: int = Field(description="Number of cells of the type, without outliers.")
    proportion: Fraction | None = Field(
        description="Count of the type over the sum of the counts of all types, 0 to 1; null if that sum is 0. Cells "
        "without a type are not in it."
    )
    interval: tuple[Fraction, Fraction] | None = Field(
        description="With 95% confidence, the share of the type lies between these, 0 to 1, if people named every "
        "counted cell of the tissue that these cells are a random sample of, those without a type too. It allows for "
        "the sampling of cells and for the errors of the classifier, as they were measured on named cells that were "
        "left out; it takes these cells to be like those of the tile. Corrected cells are taken to be right. It always "
        "holds the proportion. It is null where the proportion is."
    )


class CorrectionsOut(_Answer):
    """The cells whose type a person has given, in place of the cell classifier; parameters.corrections lists them."""

    n: int = Field(
        ge=1,
        description="Number of these cells. One whose type was right before is among them: a person has confirmed it.",
    )
    by: str = Field(description="Who has corrected them: the name of the key, or else what the request says.")


class GroupOut(_Answer):
    """How far the tile is from one group of reference tiles."""

    name: str = Field(description="What the group's tiles are. The name says if they are simulated.")
    distance: Rounded = Field(
        description="Euclidean distance of the tile's proportions from the group's mean proportions, 0 to √2, without "
        "a unit."
    )
    farther_than: Annotated[Fraction, _decimals(6)] = Field(
        description="Share of the group's own tiles that are nearer to that mean, 0 to 1. 1 means that all of them are."
    )


class PlacementOut(_Answer):
    """The tile beside the bundle's reference tiles, whose proportions GET /bundles/{name} shows."""

    position: Point = Field(
        description="Position of the tile on the first two principal components of the reference tiles' proportions, "
        "without a unit."
    )
    nearest: str = Field(description="Name of the group whose mean is nearest.")
    groups: list[GroupOut] = Field(description="The groups of reference tiles, the nearest first.")


class MeasurementContributionOut(_Answer):
    """What a measurement of the cells adds to the label's score."""

    measurement: str = Field(
        description="Name of the measurement, with its unit where that is a length or an area, as in area_um2."
    )
    title: str = Field(description="What it is called in words.")
    value: float = Field(
        description="Median over the tile's counted cells, in the measurement's unit. Lengths are in µm; where the "
        "scale of the tile is not known, it is taken to be that of the bundle."
    )
    contribution: float = Field(
        description="What it adds to the score, in units of the score: the SVM's weight times the value, standardised "
        "by the reference tiles."
    )


class LabelOut(_Answer):
    """The tile's label, and what it rests on."""

    value: Literal["normal", "abnormal", "indeterminate"] = Field(
        description="The label. Indeterminate means that no label is given, and `reason` says why."
    )
    score: float | None = Field(
        description="Decision value of the SVM, without a unit; above 0 is abnormal. It is null if no cell was counted."
    )
    bias: float = Field(description="Bias of the SVM: the score of a tile before any cluster contributes to it.")
    measurement_contributions: list[MeasurementContributionOut] = Field(
        default=[],
        description="What measurements of the cells add to the score. The list is empty if the label of the bundle "
        "rests on proportions alone, and where the score is null.",
    )
    probability: Fraction | None = Field(
        description="Probability that the tile is abnormal, 0 to 1, calibrated on labelled tiles at their shares of "
        "both labels. It is null if the bundle has fewer than 20 tiles of a label, or if the tile cannot be judged."
    )
    calibrated_on: LabelCounts | None = Field(
        description="Numbers of labelled tiles that the probability rests on; null if the bundle has too few."
    )
    conformal_set: list[LabelValue] | None = Field(
        description="The labels whose examples have such a score. Both mean that either label is possible; an empty "
        "list means that the score lies between those of both. It is null if no cell was counted, or if the bundle has "
        "too few patients or tiles of a label to know what scores the label has; `reason` then says so."
    )
    conformal_coverage: float | None = Field(
        default=None,
        description="Probability, at least, that the set holds the label of a tile of a new patient, or of a new tile "
        "where the bundle does not know patients: for normal and for abnormal ones alike, if they are like those that "
        "the bundle was fitted to, simulated bags included. It is null if the bundle promises none.",
    )
    kmeans: LabelValue | None = Field(description="Label of the nearest k-means centre; null if no cell was counted.")
    reference: PlacementOut | None = Field(
        description="The tile beside the reference tiles; null if no cell was counted."
    )
    within_reference: WithinOut | None = Field(
        default=None,
        description="Whether the composition is one that reference tiles have: a third opinion, beside the score and "
        "k-means. It is null if no cell was counted, or if the bundle has no region.",
    )
    basis: str = Field(description="What normal and abnormal mean in this bundle, and what was simulated.")
    reason: str = Field(description="Why the tile has this label, or why it has none, in a sentence.")


class BundleIdentity(_Answer):
    """Which bundle it is, and what computes its networks."""

    name: str = Field(description="Name of the bundle.")
    version: str = Field(description="Version of the bundle.")
    sha256: str = Field(
        description="SHA-256 of the bundle's manifest.json, which holds the checksum of every other file, in "
        "hexadecimal."
    )
    backend: Literal["onnxruntime", "pytorch"] = Field(description="Library that computes the networks.")
    device: Literal["cpu", "cuda"] = Field(description="Processor that computes them: the CPU, or a GPU with CUDA.")


class SegmentationOut(_Answer):
    """What found the nuclei."""

    source: Literal["bundle", "upload"] = Field(
        description="Whether the bundle found the nuclei in the picture (bundle) or they came with it (upload)."
    )
    method: Literal["learned", "default", "paper", "geojson", "label_image"] = Field(
        description="How the nuclei were found. For a bundle it is its preset: learned, a network that taught itself; "
        "default, many thresholds; or paper, the constant threshold of the paper. For an upload it is the form in "
        "which the nuclei came: geojson or label_image."
    )
    version: str | None = Field(
        description='Name and version of the bundle that found the nuclei, as in "marrow 8"; null if they were '
        "uploaded."
    )


class BundleUsed(BundleIdentity):
    """The bundle that computed the answer."""

    precision: Precision = Field(
        description="Precision of the network that sorted the cells. full is exact; fast uses 8-bit integers, and "
        "gives nearly the same."
    )
    q_calibrated: bool = Field(
        default=False,
        description="Whether the probabilities of the cells were calibrated: compared with the clusters of cells "
        "that Q had not learned from, and corrected. If false, how right they are was not measured. "
        "manifest.q_calibration of GET /bundles/{name} has the figures.",
    )


class ParametersOut(_Answer):
    """The parameters of the answer. With them, the same bundle and code give the same result for the same tile."""

    bundle: str = Field(description="Name of the bundle, also where the request named none.")
    mpp: float | None = Field(
        description="Scale of the tile in µm per pixel, 0.05 to 4, as the request gave it; null if it gave none. The "
        "same file then says the same scale again."
    )
    precision: Precision = Field(
        description="Precision that the answer has. It may be full where the request asked for fast."
    )
    prototypes: int = Field(description="Number of prototypes per cluster, 0 to 16; 0 if none were asked for.")
    measurements: bool = Field(default=True, description="Whether the answer holds the measurements of every cell.")
    features: bool = Field(
        default=False,
        exclude_if=lambda features: not features,
        description="Whether the answer holds the features of every cell. The field is left out if it does not.",
    )
    nuclei_sha256: str | None = Field(
        default=None,
        exclude_if=lambda sha256: sha256 is None,
        description="SHA-256 of the nuclei that were uploaded with the tile, in hexadecimal. The field is left out if "
        "the bundle found the nuclei.",
    )
    corrections: dict[str, list[int]] | None = Field(
        default=None,
        exclude_if=lambda corrections: corrections is None,
        description="The corrected cells, as the form field corrections takes them: the numbers of the cells that a "
        "person gave each type, by its name. The field is left out if no type was corrected.",
    )
    reviewer: str | None = Field(
        default=None,
        exclude_if=lambda reviewer: reviewer is None,
        description="Who corrected the types. The field is left out if no type was corrected.",
    )


class TimingOut(_Answer):
    """How long each stage took, in milliseconds."""

    decode: Milliseconds = Field(description="Milliseconds to decode the upload and scale it to the bundle's scale.")
    segment: Milliseconds = Field(description="Milliseconds to separate the stains and find the nuclei.")
    quality: Milliseconds = Field(
        description="Milliseconds to measure focus, stain, tissue and scale. This happens while nuclei are sought."
    )
    measure: Milliseconds = Field(
        default=0.0,
        description="Milliseconds to measure the nuclei and the tissue. This happens while the network Q runs.",
    )
    encode: Milliseconds = Field(description="Milliseconds to cut out the cells and run the network Q on them.")
    label: Milliseconds = Field(description="Milliseconds to compute the proportions and the label.")
    total: Milliseconds = Field(
        description="Milliseconds of the whole analysis, without the upload and without the writing of the answer."
    )


class AnalysisOut(_Answer):
    """The answer of POST /analyze."""

    request_id: str = Field(description="Id of the request. The header X-Request-ID holds it, too.")
    notice: str = Field(description="What the answer may be used for.")
    tile: TileOut
    quality: QualityOut
    cells: list[CellOut] = Field(description="The cells from top to bottom. The list is empty if none was found.")
    outliers: OutliersOut
    very_large_nuclei: VeryLargeNucleiOut
    clusters: list[ClusterOut] = Field(description="All clusters of the bundle, in the order of their numbers.")
    types: list[TypeOut] | None = Field(
        default=None,
        exclude_if=lambda types: types is None,
        description="All types that people have taught the bundle, in the order of its manifest. The field is left "
        "out if the bundle has no cell classifier.",
    )
    cells_without_type: int | None = Field(
        default=None,
        exclude_if=lambda count: count is None,
        description="Number of counted cells for which no type is probable enough. The field is left out if the bundle "
        "has no cell classifier.",
    )
    myeloid_erythroid_ratio: Rounded | None = Field(
        default=None,
        exclude_if=lambda ratio: ratio is None,
        description="Number of cells of myeloid types over that of cells of erythroid types. The field is left out "
        "unless the bundle marks types of both sides and the tile has erythroid cells.",
    )
    corrections: CorrectionsOut | None = Field(
        default=None,
        exclude_if=lambda corrections: corrections is None,
        description="How many cells have a type that a person has given, and who. Counts, proportions and intervals "
        "of the types, and the ratio, are those with these types; clusters and label do not depend on types. The field "
        "is left out if no type was corrected.",
    )
    cells_sha256: str | None = Field(
        default=None,
        exclude_if=lambda sha256: sha256 is None,
        description="SHA-256 of the tile, the bundle and the boxes of the cells, in hexadecimal. Send it with "
        "corrections of types, and they are refused if the numbers no longer mean these cells, or the bundle has "
        "changed. The field is left out if the bundle has no cell classifier.",
    )
    measurements: list[MeasurementOut] = Field(
        default_factory=list,
        description="What the nuclei of the tile are like: every measurement over its counted cells.",
    )
    tissue: TissueOut
    label: LabelOut
    segmentation: SegmentationOut
    bundle: BundleUsed
    parameters: ParametersOut
    code_version: str = Field(
        description="Version of the service, and the first 12 digits of a SHA-256 of its source, as in "
        "0.1.0+5be1f0c2a9d3."
    )
    result_sha256: str = Field(
        description="SHA-256 of this answer as canonical JSON without request_id, code_version, bundle.backend, "
        "bundle.device, timing_ms and this field, in hexadecimal. The same result has the same hash. "
        "docs/decisions/0015-provenance.md shows how to compute it.",
    )
    timing_ms: TimingOut

    @property
    def features(self) -> Float32Array | None:
        """What the encoder sees of each cell: (N, F) float32, or (0, 0) without a cell; None where not asked for."""
        if not self.parameters.features:
            return None
        rows = [np.frombuffer(base64.b64decode(cell.features or ""), "<f2") for cell in self.cells]
        return np.asarray(rows, np.float32).reshape(len(rows), -1) if rows else np.zeros((0, 0), np.float32)


class PrototypesOut(_Answer):
    """The answer of GET /prototypes/{cluster}?format=json."""

    cluster: int = Field(description="Number of the cluster, from 0 to K − 1.")
    n: int = Field(description="Number of cells that were drawn, 1 to 64.")
    seed: int = Field(description="Seed of the noise, 0 to 2³² − 1. The same seed gives the same cells.")
    cells: list[str] = Field(description="The cells, each a base64 PNG of 32 × 32 px.")
    fidelity: Fraction = Field(
        description="Share of 400 generated cells that the network Q put back into the cluster when the bundle was "
        "made, 0 to 1."
    )
    diversity: float | None = Field(
        description="Mean L2 distance between 16 generated cells over that between 16 real cells of the cluster, when "
        "the bundle was made; without a unit. 1 means that they vary as much as real cells. It is null if there were "
        "fewer than 16 real cells."
    )


class PrototypeGridOut(_Answer):
    """The answer of GET /prototypes?format=json."""

    clusters: list[PrototypesOut] = Field(
        description="All clusters of the bundle. Cell i of each cluster is drawn from the same noise."
    )


class BundleSummary(BundleIdentity):
    """What GET /bundles lists of a bundle."""

    default: bool = Field(description="Whether this bundle answers when a request names none.")
    n_clusters: int = Field(description="Number of clusters, K.")
    precisions: list[Precision] = Field(
        description="Precisions that POST /analyze can answer with. If full is the only one, the bundle has no fast "
        "network, or it is not used here."
    )
    warnings: list[str] = Field(
        default_factory=list,
        description="What differs from the bundle as it was made: files that are missing, and what answers in their "
        "place. Empty for a bundle that is served as it was made.",
    )


class BundlesOut(_Answer):
    """The answer of GET /bundles."""

    bundles: list[BundleSummary] = Field(description="The bundles that can be served.")
    batches: bool = Field(default=False, description="Whether this service also runs batches (POST /batches).")
    reviews: bool = Field(
        default=False,
        description="Whether this service also holds a review, in which people name cells (GET /reviews).",
    )
    adapts: bool = Field(
        default=False,
        description="Whether this service also adapts bundles to the tiles of a laboratory (POST /bundles).",
    )


class BundleOut(BundleSummary):
    """The answer of GET /bundles/{name}: model card, provenance, licence, metrics and checksums of a bundle."""

    network: str = Field(
        default="",
        description="What the network Q is in this bundle: how it was trained, what its clusters are, how right its "
        "probabilities are, and what sets each cluster apart.",
    )
    segmentation: SegmentationOut
    types_warning: str | None = Field(
        default=None,
        description="Why the figures of the cell classifier are better than those of a new tile, in a sentence; null "
        "if they are not, or if the bundle knows no cell types.",
    )
    manifest: Manifest


class HealthOut(_Answer):
    """The answer of GET /livez and GET /readyz."""

    status: Literal["alive", "ready"] = Field(description="alive from /livez, ready from /readyz.")


class Problem(BaseModel):
    """An error as RFC 9457 problem details."""

    type: str = Field(
        default="about:blank", description="Kind of the problem; about:blank means that the status says it."
    )
    title: str = Field(description="Status of the response in words.")
    status: int = Field(description="HTTP status of the response.")
    detail: str = Field(description="What was wrong with this request, in a sentence.")
    request_id: str = Field(description="Id of the request. The header X-Request-ID holds it, too.")
