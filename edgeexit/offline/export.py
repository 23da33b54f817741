"""Export a trained multi-exit network from PyTorch to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.onnx

from edgeexit.errors import GraphError
from edgeexit.offline.layers import fold_batch_norm
from edgeexit.offline.reference_nets import MultiExitNet
from edgeexit.runtime.engine import open_session

OPSET: Final = 17
IR_VERSION: Final = 8
"""What opset 17 came with, so that an old ONNX Runtime on a board reads the file too."""

INPUT_NAME: Final = "image"
EXPORT_TOLERANCE: Final = 1e-4
"""Largest difference of a logit between PyTorch and ONNX Runtime that an export may show."""

FloatArray = npt.NDArray[np.float32]


def output_names(exit_count: int) -> tuple[str, ...]:
    """Name the outputs of an exported network: `exit0`, `exit1`, ... and `logits` for its own."""
    return (*(f"exit{index}" for index in range(exit_count - 1)), "logits")


def export_onnx(net: MultiExitNet, path: Path) -> None:
    """Write the network as one ONNX file, BatchNorm folded, with a free batch dimension `N`.

    Requires:
        The network takes `image: (N, 1, 28, 28) float32`.

    Ensures:
        `path` appears only when it is complete and ONNX Runtime computes from it what PyTorch
        computes from `net`.

    Raises:
        GraphError: ONNX Runtime's logits differ by more than `EXPORT_TOLERANCE`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folded = fold_batch_norm(net).to(memory_format=torch.contiguous_format)
    names = output_names(net.exit_count)
    unfinished = path.with_name(path.name + ".part")
    torch.onnx.export(
        folded,
        (torch.zeros(1, 1, 28, 28),),
        unfinished,
        input_names=[INPUT_NAME],
        output_names=list(names),
        dynamic_axes={name: {0: "N"} for name in (INPUT_NAME, *names)},
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load(unfinished)
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, unfinished)
    _check_export(net, unfinished)
    unfinished.replace(path)


@torch.no_grad()
def _check_export(net: MultiExitNet, path: Path) -> None:
    image = np.random.default_rng(0).random((7, 1, 28, 28), dtype=np.float32)
    expected = torch.stack(net.eval()(torch.from_numpy(image)), dim=1).numpy()
    difference = float(np.abs(_onnx_logits(path, image, net.exit_count) - expected).max())
    if not difference <= EXPORT_TOLERANCE:
        raise GraphError(
            f"{path}: ONNX Runtime's logits differ from PyTorch's by up to {difference:.2g}, "
            f"at most {EXPORT_TOLERANCE:.0e} was asked for; export with another version of torch"
        )


def _onnx_logits(path: Path, image: FloatArray, exit_count: int) -> FloatArray:
    outputs = open_session(path.read_bytes()).run(list(output_names(exit_count)), {INPUT_NAME: image})
    return np.stack(outputs, axis=1)
