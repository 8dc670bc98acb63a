"""The systems of Tables I to IV by name; each is imported when it is needed, so a missing one stops no other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from training.errors import DataError
from training.study.interfaces import ClustererFactory, DescriberFactory

N_CLUSTERS = 5
"""The paper's K in Tables I, III and IV."""


class MissingSystemError(DataError):
    """A system cannot be run here, because its module, or something that it needs, is missing."""


@dataclass(frozen=True)
class LazySystem:
    """A system that is imported when it is needed.

    Attributes:
        title: its name in the report.
        module: module that defines it.
        attribute: name of its factory in the module.
        arguments: fixed arguments that come before the seed.
        weights: environment variable with the path of ResNet-50's weights, if the system needs them.
        remark: what a reader of its figures has to know, in whole sentences.
    """

    title: str
    module: str
    attribute: str
    arguments: tuple[int, ...] = ()
    weights: str | None = None
    remark: str | None = None

    def load(self) -> Any:
        """Return the factory.

        Raises:
            MissingSystemError: the module, or something that it needs, is not installed, or no weights are given.
        """
        keywords = {}
        if self.weights is not None:
            if not os.environ.get(self.weights):
                raise MissingSystemError(f"'{self.title}' is skipped: {self.weights} names no file of weights.")
            keywords["resnet50_weights"] = Path(os.environ[self.weights])
        try:
            return partial(getattr(import_module(self.module), self.attribute), *self.arguments, **keywords)
        except (ImportError, AttributeError) as error:
            raise MissingSystemError(f"'{self.title}' cannot be run here: {error}.") from error


_CNN = "training.study.baselines.imagenet_cnn"
_RESNET50 = "RESNET50_WEIGHTS"
_MARROWSCOPE = "training.study.systems.marrowscope_system"
_BY_PLACES = (
    "`ours, by places` is our method with another recipe of the encoder, for tissue where the place of a cell says its "
    "type. The recipe was chosen on the agreement with types within the tiles of `crchisto`, seed 0: its figures for "
    "`crchisto` are tuned on that set, and only those for the other sets are evidence. `consep` was scored while it "
    "was chosen, though nothing was chosen by that."
)
CLUSTERERS = {
    "mf-kmeans": LazySystem("MF + k-means", "training.study.baselines.manual_features", "ManualFeaturesKMeans"),
    "cnn-kmeans": LazySystem("EfficientNet-Lite0 + k-means", _CNN, "ImageNetKMeans"),
    "cnn-surroundings-kmeans": LazySystem("EfficientNet-Lite0, surroundings + k-means", _CNN, "SurroundingsKMeans"),
    "resnet50-kmeans": LazySystem("ResNet-50 + k-means", _CNN, "ImageNetKMeans", weights=_RESNET50),
    "hog-dec": LazySystem("HOG + DEC", "training.study.baselines.hog_dec", "HogDec"),
    "catgan": LazySystem("CatGAN", "training.study.baselines.catgan", "CatGan"),
    "infogan": LazySystem("InfoGAN (DCGAN)", "training.study.baselines.infogan", "InfoGan"),
    "gmvae": LazySystem("GMVAE", "training.study.baselines.gmvae", "Gmvae"),
    "paper-recipe": LazySystem("the paper's recipe", _MARROWSCOPE, "PaperRecipe"),
    "ours": LazySystem("ours", _MARROWSCOPE, "OurSystem"),
    "ours-places": LazySystem("ours, by places", _MARROWSCOPE, "PlacesSystem", remark=_BY_PLACES),
}
"""Systems of Table III, in its order."""
DESCRIBERS = {
    "mf": LazySystem("MF", "training.study.baselines.manual_features", "ManualFeatures"),
    "cnn": LazySystem("EfficientNet-Lite0", _CNN, "ImageNetFeatures"),
    "cnn-surroundings": LazySystem("EfficientNet-Lite0, surroundings", _CNN, "SurroundingsFeatures"),
    "resnet50": LazySystem("ResNet-50", _CNN, "ImageNetFeatures", weights=_RESNET50),
    "ours": LazySystem("ours", _MARROWSCOPE, "OurSystem", (N_CLUSTERS,)),
    "ours-places": LazySystem("ours, by places", _MARROWSCOPE, "PlacesSystem", (N_CLUSTERS,), remark=_BY_PLACES),
}
"""Systems of Table I, in its order."""
CEILINGS = {
    "with-types": LazySystem(
        "trained with types (the ceiling of this network)",
        "training.study.systems.trained_with_types",
        "EncoderWithTypes",
    ),
}
"""Systems of Table I that are told the types of the training cells, and so are no rivals of the others."""
OURS = "ours"
"""Name of this method in every table."""
WHOLE_TILES = "cnn"
"""Name in Table IV of the system that sees whole tiles instead of cells."""
BUNDLE = "bundle"
"""Name in Table IV of the shipped bundle, whose clusters are not learned from the set."""
VARIANTS = LazySystem("variants of ours", _MARROWSCOPE, "variants")
"""Its factory returns the clusterers of the ablation by name."""
BY_KMEANS = ("mf-kmeans", "cnn-kmeans")
"""Systems that the paper compares with in Table II."""


def clusterer(name: str) -> ClustererFactory:
    """Return the factory of a system of Table III.

    Raises:
        DataError: there is no system of this name; a `MissingSystemError` if it cannot be run here.
    """
    check_known(CLUSTERERS, name)
    return CLUSTERERS[name].load()


def describer(name: str) -> DescriberFactory:
    """Return the factory of a system of Table I.

    Raises:
        DataError: there is no system of this name; a `MissingSystemError` if it cannot be run here.
    """
    known = DESCRIBERS | CEILINGS
    check_known(known, name)
    return known[name].load()


def check_known(systems: dict[str, LazySystem], name: str) -> None:
    """Check that there is a system of this name.

    Raises:
        DataError: there is none; the message lists the names of all systems.
    """
    if name not in systems:
        raise DataError(f"There is no system '{name}'; the systems are: {', '.join(systems)}.")
