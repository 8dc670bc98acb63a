"""What the model card says in words about the network Q of a bundle and its clusters."""

from __future__ import annotations

from app.pipeline.manifest import Manifest

ON_ENCODER = (
    "Q stands on an encoder, which learned without labels to know each training cell again in random views of it. Q's "
    "clusters are those that tell most about the clusters of neighbouring cells. Then the adversarial network learned "
    "to draw cells of each cluster. Nobody has shown that a cluster is a type of cell."
)
AUXILIARY = (
    "Q is the auxiliary network of the paper. It learned together with the generator, by the mutual information "
    "between a code and the cell generated for it. Nobody has shown that a cluster is a type of cell."
)
UNKNOWN = "The bundle does not say how Q was trained."
EXPLAINED = (
    " Of the differences between the training cells, the clusters explain {area:.0%} of those in nuclear area, "
    "{density:.0%} in mean optical density, {eccentricity:.0%} in eccentricity, and {contrast:.0%} in the contrast of "
    "the chromatin (share of the variance)."
)
CALIBRATED = (
    "How right its probabilities are was measured on the {cells} cells of {tiles} tiles, with heads on the same "
    "encoder that had not learned from these {held_out}: {agreement:.0%} of the cells were put into the cluster that Q "
    "gives them, and the probabilities were off by {error_before:.3f} on average. Divided by a temperature of "
    "{temperature:.2f}, which the service does, they are off by {error_after:.3f}."
)
DESCRIBED = "What sets each cluster apart, measured on the training cells: "
NOT_CALIBRATED = "How right its probabilities are was not measured."


def describe_q(manifest: Manifest) -> str:
    """Return what Q is, how it was trained, how right it is, and what sets its clusters apart, in whole sentences."""
    train = manifest.training.config.get("train")
    if not isinstance(train, dict) or "encoder" not in train:
        training = UNKNOWN
    else:
        training = ON_ENCODER if train["encoder"] else AUXILIARY
    if manifest.metrics.explained:
        training += EXPLAINED.format(**manifest.metrics.explained.model_dump())
    measured = manifest.q_calibration
    text = f"{training} {CALIBRATED.format(**measured.model_dump()) if measured else NOT_CALIBRATED}"
    if manifest.descriptions:
        clusters = enumerate(manifest.descriptions.clusters)
        text += f" {DESCRIBED}" + " ".join(f"Cluster {k}: {described.sentence}" for k, described in clusters)
    return text
