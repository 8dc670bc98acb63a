"""A network in PyTorch → an ONNX file that stands alone."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from app.files import whole_file

OPSET = 18


def write_onnx(net: nn.Module, example: Tensor, path: Path, input_name: str, output_names: list[str]) -> None:
    """Export a network of one input, whose first axis is a batch of any size.

    Args:
        net: on the CPU.
        example: an input, at least two rows.
        path: file to write, whole or not at all.
        input_name: of the input.
        output_names: of the outputs.
    """
    net = net.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # The exporter reports its progress on standard output, and warns and logs of its own dependencies.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with whole_file(path) as temporary, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (example,),
            temporary,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
