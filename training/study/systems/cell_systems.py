"""The systems of Tables I–IV by name; each is imported when asked for, so that one that is missing stops no other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from training.errors import DataError
from training.study.systems.clusterer import ClustererFactory, DescriberFactory

N_CLUSTERS = 5
"""The paper's K, of Tables I, III and IV."""


class MissingSystemError(DataError):
    """A system's module, or something that it needs, is not installed."""


@dataclass(frozen=True)
class Entry:
    """Where a system is.

    Attributes:
        title: what the report calls it.
        module: holds it.
        attribute: what makes one.
        arguments: that come before the seed, where they do not vary.
        weights: environment variable that names the file of ResNet-50's weights, where it takes one.
    """

    title: str
    module: str
    attribute: str
    arguments: tuple[int, ...] = ()
    weights: str | None = None

    def load(self) -> Any:
        """The factory.

        Raises:
            MissingSystemError: the module, or something that it needs, is not installed, or no weights are given.
        """
        keywords = {}
        if self.weights is not None:
            if not os.environ.get(self.weights):
                raise MissingSystemError(f"'{self.title}' is passed over: {self.weights} names no file of weights.")
            keywords["resnet50_weights"] = Path(os.environ[self.weights])
        try:
            return partial(getattr(import_module(self.module), self.attribute), *self.arguments, **keywords)
        except (ImportError, AttributeError) as error:
            raise MissingSystemError(f"'{self.title}' cannot be run here: {error}.") from error


_CNN = "training.study.baselines.imagenet_cnn"
_RESNET50 = "RESNET50_WEIGHTS"
CLUSTERERS = {
    "mf-kmeans": Entry("MF + k-means", "training.study.baselines.manual_features", "ManualFeaturesKMeans"),
    "cnn-kmeans": Entry("EfficientNet-Lite0 + k-means", _CNN, "ImageNetKMeans"),
    "resnet50-kmeans": Entry("ResNet-50 + k-means", _CNN, "ImageNetKMeans", weights=_RESNET50),
    "hog-dec": Entry("HOG + DEC", "training.study.baselines.hog_dec", "HogDec"),
    "catgan": Entry("CatGAN", "training.study.baselines.catgan", "CatGan"),
    "infogan": Entry("InfoGAN (DCGAN)", "training.study.baselines.infogan", "InfoGan"),
    "gmvae": Entry("GMVAE", "training.study.baselines.gmvae", "Gmvae"),
    "paper-recipe": Entry("the paper's recipe", "training.study.systems.marrowscope_system", "PaperRecipe"),
    "ours": Entry("ours", "training.study.systems.marrowscope_system", "Ours"),
}
"""Table III, in its order."""
DESCRIBERS = {
    "mf": Entry("MF", "training.study.baselines.manual_features", "ManualFeatures"),
    "cnn": Entry("EfficientNet-Lite0", _CNN, "ImageNetFeatures"),
    "resnet50": Entry("ResNet-50", _CNN, "ImageNetFeatures", weights=_RESNET50),
    "ours": Entry("ours", "training.study.systems.marrowscope_system", "Ours", (N_CLUSTERS,)),
}
"""Table I, in its order."""
WHOLE_TILES = "cnn"
"""Recorded as the system of Table IV that sees whole tiles and no cells."""
VARIANTS = Entry("variants of ours", "training.study.systems.marrowscope_system", "variants")
"""Gives the ablation's clusterers by name."""
BY_KMEANS = ("mf-kmeans", "cnn-kmeans")
"""What the paper compares with in Table II."""


def clusterer(name: str) -> ClustererFactory:
    """The factory of a system of Table III.

    Raises:
        DataError: there is none of this name; a `MissingSystemError` where it cannot be run here.
    """
    check_known(CLUSTERERS, name)
    return CLUSTERERS[name].load()


def describer(name: str) -> DescriberFactory:
    """The factory of a system of Table I.

    Raises:
        DataError: there is none of this name; a `MissingSystemError` where it cannot be run here.
    """
    check_known(DESCRIBERS, name)
    return DESCRIBERS[name].load()


def check_known(entries: dict[str, Entry], name: str) -> None:
    """Raise a DataError that names the systems unless there is one of this name."""
    if name not in entries:
        raise DataError(f"There is no system '{name}'; the systems are: {', '.join(entries)}.")
