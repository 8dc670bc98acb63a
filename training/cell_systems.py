"""The systems of Tables I–IV by name; each is imported when asked for, so that one that is missing stops no other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from training.clusterer import ClustererFactory, DescriberFactory
from training.data import DataError

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
    """

    title: str
    module: str
    attribute: str
    arguments: tuple[int, ...] = ()

    def load(self) -> Any:
        """The factory.

        Raises:
            MissingSystemError: the module, or something that it needs, is not installed.
        """
        try:
            return partial(getattr(import_module(self.module), self.attribute), *self.arguments)
        except ImportError as error:
            raise MissingSystemError(f"'{self.title}' cannot be run here: {error}.") from error


CLUSTERERS = {
    "mf-kmeans": Entry("MF + k-means", "training.baselines.manual_features", "ManualFeaturesKMeans"),
    "cnn-kmeans": Entry("ImageNet CNN + k-means", "training.baselines.imagenet_cnn", "ImageNetKMeans"),
    "hog-dec": Entry("HOG + DEC", "training.baselines.hog_dec", "HogDec"),
    "catgan": Entry("CatGAN", "training.baselines.catgan", "CatGan"),
    "infogan": Entry("InfoGAN (DCGAN)", "training.baselines.infogan", "InfoGan"),
    "gmvae": Entry("GMVAE", "training.baselines.gmvae", "Gmvae"),
    "paper-recipe": Entry("the paper's recipe", "training.ours", "PaperRecipe"),
    "ours": Entry("ours", "training.ours", "Ours"),
}
"""Table III, in its order."""
DESCRIBERS = {
    "mf": Entry("MF", "training.baselines.manual_features", "ManualFeatures"),
    "cnn": Entry("ImageNet CNN", "training.baselines.imagenet_cnn", "ImageNetFeatures"),
    "ours": Entry("ours", "training.ours", "Ours", (N_CLUSTERS,)),
}
"""Table I, in its order."""
BY_KMEANS = ("mf-kmeans", "cnn-kmeans")
"""What the paper compares with in Table II."""


def clusterer(name: str) -> ClustererFactory:
    """The factory of a system of Table III.

    Raises:
        DataError: there is none of this name; a `MissingSystemError` where it cannot be run here.
    """
    return _find(CLUSTERERS, name).load()


def describer(name: str) -> DescriberFactory:
    """The factory of a system of Table I.

    Raises:
        DataError: there is none of this name; a `MissingSystemError` where it cannot be run here.
    """
    return _find(DESCRIBERS, name).load()


def _find(entries: dict[str, Entry], name: str) -> Entry:
    if name not in entries:
        raise DataError(f"There is no system '{name}'; the systems are: {', '.join(entries)}.")
    return entries[name]
