"""Networks in 8-bit integers: q.onnx → q_fast.onnx, whose heads stay float32 and are fitted again; the segmenter."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from app.files import write_whole
from app.pipeline.types import Float32Array, Float64Array
from training.bundle.channels_last import channels_last

CALIBRATION_CELLS = 768
"""Number of cells that the ranges of the activations are measured on."""
PERCENTILE = 99.99
"""The 8 bits span this percentage of an activation's values: spanning the rare extremes would coarsen all the rest."""
RIDGE = 1e-4
"""Ridge of the heads' fit, relative to the variance of each input."""
BATCH = 128


def quantise(full: Path, fast: Path, crops: Float32Array) -> None:
    """Write the fast Q.

    Convolutions, and the ReLUs before them, are quantised statically (QDQ): signed weights with a scale for each
    channel, unsigned activations with a scale for each tensor. Rounding moves the statistics that `Surprise` divides by
    their small spread. Therefore both heads are fitted again, layer by layer, by ridge regression, to give for the
    rounded inputs what the full heads give for the exact ones.

    Args:
        full: q.onnx.
        fast: file to write.
        crops: (N, C, 32, 32) float32 of real cells: some of them set the ranges, and the heads are fitted to all.

    Raises:
        OSError: the file cannot be written.
    """
    # The quantiser's histograms need batches of one size.
    n_chosen = min(CALIBRATION_CELLS, len(crops) // BATCH * BATCH or len(crops))
    chosen = np.sort(np.random.default_rng(0).permutation(len(crops))[:n_chosen])
    batches = [crops[chosen[i : i + BATCH]] for i in range(0, n_chosen, BATCH)]
    after = _rounded(full, "crops", batches, op_types_to_quantize=["Conv", "Relu"])
    before = onnx.load(full)
    if _initializers(before, Head.HIDDEN):
        _refit(Head.hidden(before), Head.hidden(after), crops)
    _refit(Head.code_logits(before), Head.code_logits(after), crops)
    if _initializers(before, Head.PROJECTION):  # else the surprise asks the crops, and no convolution
        _refit(Head.surprise(before), Head.surprise(after), crops)
    write_whole(after.SerializeToString(), fast)


def quantise_segmenter(full: Path, fast: Path, tiles: Sequence[Float32Array]) -> None:
    """Write the segmenter with all layers but the last in 8-bit integers, see `channels_last`.

    Args:
        full: the segmenter's ONNX file.
        fast: file to write.
        tiles: (1, 3, h, w) float32 each, all of one size, parts of real tiles, which set the ranges.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(channels_last(rounded_segmenter(full, tiles)).SerializeToString(), fast)


def rounded_segmenter(full: Path, tiles: Sequence[Float32Array]) -> onnx.ModelProto:
    """Return the segmenter as the quantiser leaves it, see `quantise_segmenter`."""
    # The last convolution gives the logits, whose small differences part neighbouring nuclei.
    last = [node.name for node in onnx.load(full).graph.node if node.op_type == "Conv"][-1]
    return _rounded(full, "tiles", tiles, nodes_to_exclude=[last])


def _rounded(full: Path, name: str, batches: Sequence[Float32Array], **chosen: Any) -> onnx.ModelProto:
    """Return a network quantised statically (QDQ), with the ranges that its activations have in some batches."""
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        prepared, rounded = Path(scratch) / "prepared.onnx", Path(scratch) / "rounded.onnx"
        quant_pre_process(full, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            rounded,
            _Batches(name, batches),
            per_channel=True,
            # Weights of 7 bits, so that the 16-bit sums of processors without VNNI cannot overflow.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
            **chosen,
        )
        return onnx.load(rounded)


class Head:
    """A linear map inside a network, which can be read, applied and changed.

    Args:
        model: the network.
        weights: name of its matrix, (D, P) if `of_inputs`, else (P, D).
        offset: name of its offset: (D,), subtracted from the inputs, if `of_inputs`, else (P,), added to the outputs.
        of_inputs: whether the map is (inputs − offset) @ weights, and not inputs @ weights.T + offset.
    """

    PROJECTION = "surprise.projection"
    HIDDEN = "code_logits.hidden.weight"

    def __init__(self, model: onnx.ModelProto, weights: str, offset: str, *, of_inputs: bool) -> None:
        self.model = model
        self.of_inputs = of_inputs
        (self._weights,), (self._offset,) = (_initializers(model, name) for name in (weights, offset))
        # The node that takes the inputs is the subtraction, if the offset is one of the inputs.
        first = self._offset if of_inputs else self._weights
        self._inputs = next(node.input[0] for node in model.graph.node if first.name in node.input)

    @classmethod
    def hidden(cls, model: onnx.ModelProto) -> Head:
        """Return the first layer of the head of a Q on an encoder, which maps features (N, F) to (N, H) before ReLU."""
        return cls(model, cls.HIDDEN, "code_logits.hidden.bias", of_inputs=False)

    @classmethod
    def code_logits(cls, model: onnx.ModelProto) -> Head:
        """Return the layer that gives the logits (N, K), of pooled features (N, C) or of what `hidden` gives."""
        return cls(model, "code_logits.weight", "code_logits.bias", of_inputs=False)

    @classmethod
    def surprise(cls, model: onnx.ModelProto) -> Head:
        """Return the head that maps map statistics (N, D) to principal scores (N, P)."""
        return cls(model, cls.PROJECTION, "surprise.mean", of_inputs=True)

    def inputs(self, crops: Float32Array) -> Float64Array:
        """Return what reaches this head when the network is given (N, C, 32, 32) crops, (N, D)."""
        probed = onnx.ModelProto()
        probed.CopyFrom(self.model)
        if self._inputs not in [output.name for output in probed.graph.output]:
            probed.graph.output.append(onnx.helper.make_empty_tensor_value_info(self._inputs))
        session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
        batches = [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]
        found = [session.run([self._inputs], {"crops": batch})[0] for batch in batches]
        return np.concatenate(found).astype(np.float64)

    def apply(self, inputs: Float64Array) -> Float64Array:
        """Apply this head to its inputs, (N, D) → (N, P)."""
        weights, offset = self._values()
        return np.asarray((inputs - offset) @ weights if self.of_inputs else inputs @ weights + offset)

    def fit(self, inputs: Float64Array, outputs: Float64Array) -> None:
        """Change this head so that it maps the inputs (N, D) nearly to the outputs (N, P).

        Along directions in which the inputs do not vary, it stays as it is.
        """
        weights, _ = self._values()
        centre, target = inputs.mean(axis=0), outputs.mean(axis=0)
        around = inputs - centre
        covariance = around.T @ around / len(inputs)
        missing = around.T @ (outputs - target - around @ weights) / len(inputs)
        # The last term keeps the matrix invertible if a channel is the same in every cell.
        ridge = np.diag(RIDGE * np.diag(covariance) + 1e-9)
        weights = weights + np.linalg.solve(covariance + ridge, missing)
        shift = target - centre @ weights
        offset = np.linalg.lstsq(weights.T, -shift, rcond=None)[0] if self.of_inputs else shift
        self._set(self._weights, weights if self.of_inputs else weights.T)
        self._set(self._offset, offset)

    def _values(self) -> tuple[Float64Array, Float64Array]:
        """Return the weights, (D, P) in both cases, and the offset."""
        weights, offset = (numpy_helper.to_array(tensor).astype(np.float64) for tensor in (self._weights, self._offset))
        return (weights if self.of_inputs else weights.T), offset

    @staticmethod
    def _set(tensor: onnx.TensorProto, values: Float64Array) -> None:
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def _refit(full: Head, fast: Head, crops: Float32Array) -> None:
    """Fit the fast head to give, for its own inputs, what the full head gives for the same crops."""
    fast.fit(fast.inputs(crops), full.apply(full.inputs(crops)))


def _initializers(model: onnx.ModelProto, name: str) -> list[onnx.TensorProto]:
    """Return the tensors of a name: one, or none."""
    return [tensor for tensor in model.graph.initializer if tensor.name == name]


class _Batches(CalibrationDataReader):
    """Gives the quantiser batches, under the name of the network's input."""

    def __init__(self, name: str, batches: Sequence[Float32Array]) -> None:
        self._batches = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or None after the last."""
        return next(self._batches, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside this context, the quantiser's output and its advice in the root log are not shown."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
