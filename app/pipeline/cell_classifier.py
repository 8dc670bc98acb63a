"""The cell classifier of a bundle, as plain numbers in its manifest: types that people taught it by naming cells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from app.pipeline.presets import Fraction, ManifestModel, Positive, Sha256

TypeName = Annotated[str, Field(min_length=1, max_length=60)]
Lineage = Literal["myeloid", "erythroid"]
Number = Annotated[int, Field(ge=0)]

MIN_GROUPS = 3
"""With named cells of fewer groups, nothing but cells can be left out."""


class CellType(ManifestModel):
    """A category that people have named, and taught by naming cells."""

    name: TypeName = Field(description="The type has this name.")
    color: str = Field(pattern=r"^#[0-9a-f]{6}$", description="Its cells have this colour, #rrggbb.")
    lineage: Lineage | None = Field(
        default=None,
        description="Its cells count towards this side of the myeloid to erythroid ratio; null if towards neither.",
    )

    @field_validator("name")
    @classmethod
    def _readable(cls, value: str) -> str:
        if value != value.strip() or not value.isprintable():
            raise ValueError("must be printable characters, the first and last of them no space")
        return value


class TypeValidation(ManifestModel):
    """How well one type was recognised on cells that were left out. Cells left without a type count as not found."""

    n: Number = Field(description="People gave this type to this many cells.")
    precision: Fraction | None = Field(
        description="Of the cells that the classifier gave this type, people gave it to this share; null if it gave it "
        "to none."
    )
    recall: Fraction | None = Field(
        description="Of the cells that people gave this type, the classifier gave it to this share; null if n is 0."
    )
    f: Fraction | None = Field(description="Harmonic mean of precision and recall; null if n is 0.")


class LearningPoint(ManifestModel):
    """How well types are recognised when fewer cells are learned from."""

    cells: Number = Field(description="This many named cells were learned from.")
    f: Fraction = Field(description="The mean F of the types was this, on cells that were left out.")


class ClassifierValidation(ManifestModel):
    """How right the classifier is on named cells that it had not learned from."""

    held_out: Literal["patients", "slides", "tiles", "groups"] = Field(
        description="These are the groups of cells: all of a patient, of a slide, or of a tile; or groups of tiles of "
        "which nobody said what they are."
    )
    groups: int = Field(ge=1, description="The named cells are of this many groups.")
    cells: int = Field(ge=1, description="This many named cells were left out once, and classified.")
    folds: Number = Field(
        description="They were dealt into this many folds, each left out once; 0 if nothing was left out."
    )
    optimistic: bool = Field(
        description="True: there were fewer than three groups, so that cells of one tile were on both sides, or "
        "nothing was left out. The figures are then better than those of a new tile."
    )
    types: tuple[TypeValidation, ...] = Field(description="There is one for each type, in the order of the types.")
    confusion: tuple[tuple[Number, ...], ...] = Field(
        description="Numbers of cells: a row for each type that people gave, a column for each type that the "
        "classifier gave, and a last column for cells that it left without a type."
    )
    accuracy: Fraction = Field(
        description="The most probable type of this share of the cells was the one that people gave, before any cell "
        "was left without a type."
    )
    calibration_error_before: Fraction = Field(
        description="Without the temperature, the largest probability of a cell differed by this from the share of "
        "cells that were right (expected calibration error)."
    )
    calibration_error_after: Fraction = Field(description="With the temperature, it differed by this.")
    learning_curve: tuple[LearningPoint, ...] = Field(
        description="How the mean F of the types rises with the number of named cells, from few to all."
    )
    gain_of_50: float | None = Field(
        description="With 50 more named cells, the mean F is expected to change by this, from the fitted curve; null "
        "if no curve could be fitted."
    )

    @property
    def warning(self) -> str | None:
        """Why the figures are better than those of a new tile, in a sentence; None if they are not."""
        if not self.optimistic:
            return None
        few = f"The named cells are of fewer than three {self.held_out}"
        uneven = f"Too few types were named on several {self.held_out}"
        return (
            f"{few if self.groups < MIN_GROUPS else uneven}, so the errors on a new tile are likely to be larger than "
            "those that were measured, and the intervals too narrow."
        )

    @model_validator(mode="after")
    def _of_the_same_types(self) -> ClassifierValidation:
        n = len(self.types)
        if [len(row) for row in self.confusion] != [n + 1] * n:
            raise ValueError(f"confusion must have {n} rows of {n + 1} numbers, for {n} types and no type")
        return self


class ClassifierSource(ManifestModel):
    """What the classifier was taught with."""

    cells: int = Field(ge=1, description="People had named this many cells.")
    tiles: int = Field(ge=1, description="The cells are of this many tiles.")
    reviewers: Number = Field(description="This many people named them; 0 if that is not known.")
    created: str = Field(description="The classifier was taught at this time, ISO 8601.")
    bundle_sha256: Sha256 = Field(description="The features were those of the bundle whose manifest has this SHA-256.")


class CellClassifier(ManifestModel):
    """Multinomial logistic regression from what is known of a cell to its type.

    What is known of a cell are D numbers: its features; the mean features of the four nearest cells, if `neighbours`;
    and its measurements. probabilities = softmax((weights · (numbers − mean) / deviation + bias) / temperature).
    """

    types: tuple[CellType, ...] = Field(min_length=2, max_length=32, description="Cells can be of these T types.")
    measurements: tuple[str, ...] = Field(
        default=(), description="These measurements are used, by their names without units, in µm where they have one."
    )
    neighbours: bool = Field(description="Whether the mean features of the four nearest cells are used.")
    mean: tuple[float, ...] = Field(min_length=1, description="The D numbers of the named cells have these means.")
    deviation: tuple[Positive, ...] = Field(description="They have these standard deviations; 1 where they are 0.")
    weights: tuple[tuple[float, ...], ...] = Field(description="Each of the T types has D weights.")
    bias: tuple[float, ...] = Field(description="Each of the T types has one bias.")
    temperature: Positive = Field(description="The logits are divided by this before they become probabilities.")
    threshold: Fraction = Field(description="A cell whose largest probability is lower gets no type.")
    validation: ClassifierValidation
    source: ClassifierSource

    def numbers_of(self, n_features: int) -> int:
        """Return how many numbers are known of a cell, D, in a bundle of so many features."""
        return n_features * (2 if self.neighbours else 1) + len(self.measurements)

    @model_validator(mode="after")
    def _consistent(self) -> CellClassifier:
        n, d = len(self.types), len(self.mean)
        names = [one.name for one in self.types]
        for what, values in (("types", names), ("measurements", self.measurements)):
            if twice := [name for name in values if list(values).count(name) > 1]:
                raise ValueError(f"{what} must have distinct names, found '{twice[0]}' twice")
        sizes = {
            "deviation": (len(self.deviation), d),
            "weights": (len(self.weights), n),
            "bias": (len(self.bias), n),
            "validation.types": (len(self.validation.types), n),
            **{f"weights.{t}": (len(row), d) for t, row in enumerate(self.weights)},
        }
        for field, (found, wanted) in sizes.items():
            if found != wanted:
                raise ValueError(f"{field} must have {wanted} entries, found {found}")
        return self
