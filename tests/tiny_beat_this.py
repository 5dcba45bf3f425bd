"""Networks with the inputs and outputs of Beat This!, as ONNX files: convolutions over time whose answer is known."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BANDS = 128


def write_network(
    path: Path,
    kernel: np.ndarray,
    bias: tuple[float, float] = (0.0, 0.0),
    *,
    pad: int | None = None,
    outputs: tuple[str, ...] = ("beat", "downbeat"),
    frames: int | str = "frames",
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a network whose logits are the correlation of a spectrum (T, bands) with `kernel`, plus `bias`.

    Args:
        path: of the file.
        kernel: (2, bands, taps), for beat and downbeat.
        bias: of both.
        pad: frames of zeros at either end; by default as many as keep T.
        outputs: their names.
        frames: what is declared of the number of frames.
        kind: of input and outputs.
    """
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    side = kernel.shape[2] // 2 if pad is None else pad
    nodes = [
        helper.make_node("Transpose", ["spectrum"], ["bands_first"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["bands_first", "kernel", "bias"], ["both"], pads=[side, side]),
        *(helper.make_node("Gather", ["both", f"row{i}"], [name], axis=1) for i, name in enumerate(outputs)),
    ]
    constants = {"kernel": kernel.astype(dtype), "bias": np.array(bias, dtype)}
    constants |= {f"row{i}": np.array(i % 2) for i in range(len(outputs))}
    graph = helper.make_graph(
        nodes,
        "beats",
        [helper.make_tensor_value_info("spectrum", kind, ["batch", frames, kernel.shape[1]])],
        [helper.make_tensor_value_info(name, kind, ["batch", f"of_{name}"]) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def click_network(path: Path) -> Path:
    """Write a network that hears a beat in every click of `clicks`, and a downbeat in every click with a low tone."""
    kernel = np.zeros((2, BANDS, 1), np.float32)
    kernel[0, 85:105] = 8 / 20  # about 4 kHz
    kernel[1, 8:12] = 2 / 4  # about 300 Hz
    return write_network(path, kernel, (-4.0, -7.0))


def clicks(times: np.ndarray, bar: int, seconds: float, rate: int = 22_050) -> np.ndarray:
    """Samples (N,) with a click of 20 ms around each of some times, and a low tone with every `bar`-th of them."""
    t = np.arange(round(seconds * rate)) / rate
    out = np.zeros(len(t))
    for number, time in enumerate(times):
        shape = np.exp(-0.5 * ((t - time) / 0.005) ** 2)
        out += 0.3 * shape * np.sin(2 * np.pi * 4000 * t)
        if number % bar == 0:
            out += 0.4 * shape * np.cos(2 * np.pi * 300 * (t - time))
    return out.astype(np.float32)
