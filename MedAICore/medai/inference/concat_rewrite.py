"""U-Nets in OpenVINO without their concatenations: half the memory of a tile, the same figures.

A convolution of joined tensors is the sum of convolutions of the parts: conv([a, b]) = conv_a(a) + conv_b(b). The
joined copy is never made, and OpenVINO adds the second result into the first one's memory. The skip connection's part
is moreover computed before the decoder's tensor is upsampled, so that the skip's own memory is free by then: at a
U-Net's finest resolution two feature maps are alive in place of four.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# What carries the decoder's tensor from the coarser resolution to the skip's.
_UPSAMPLING = ("ConvolutionBackpropData", "Interpolate")
# What may lie between that and the concatenation: one value in, one value out.
_ELEMENTWISE = ("Add", "Multiply", "PRelu", "Relu", "MVN", "Clamp", "Swish", "Gelu", "Convert")
# Added to the upsampling's input to order the two: at most this, so that no figure changes.
_NOTHING = 1e-37


def without_concatenations(model: Any) -> int:
    """Rewrite every convolution of a concatenation over channels in `model` (an openvino.Model); how many there were.

    Left alone are concatenations that something else reads too, or whose channels are not known.
    """
    order = {op.get_friendly_name(): n for n, op in enumerate(model.get_ordered_ops())}
    rewritten = 0
    for op in model.get_ordered_ops():
        if op.get_type_name() == "Convolution" and (parts := _joined(op)) is not None:
            _rewrite(op, parts, order)
            rewritten += 1
    model.validate_nodes_and_infer_types()
    return rewritten


def _joined(convolution: Any) -> list[Any] | None:
    """The outputs that are joined over channels for this convolution alone; None where it is another one."""
    joined, weights = (convolution.input_value(n).get_node() for n in (0, 1))
    if joined.get_type_name() != "Concat" or weights.get_type_name() != "Constant":
        return None
    parts = list(joined.input_values())
    known = all(part.get_partial_shape()[1].is_static for part in parts)
    alone = len(joined.output(0).get_target_inputs()) == 1
    return parts if joined.get_attributes()["axis"] == 1 and alone and known and len(parts) > 1 else None


def _rewrite(convolution: Any, parts: list[Any], order: dict[str, int]) -> None:
    from openvino import opset13

    weights = convolution.input_value(1).get_node().data
    a = convolution.get_attributes()
    settings = [a[name] for name in ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")]
    results, start = [], 0
    for part in parts:
        stop = start + part.get_partial_shape()[1].get_length()
        kernel = opset13.constant(np.ascontiguousarray(weights[:, start:stop]))
        results.append(opset13.convolution(part, kernel, *settings))
        start = stop
    _compute_before_upsampling(parts, results, order)
    total = results[0]
    for result in results[1:]:
        total = opset13.add(total, result)
    convolution.output(0).replace(total.output(0))


def _compute_before_upsampling(parts: list[Any], results: list[Any], order: dict[str, int]) -> None:
    """Make the last part's upsampling wait for the other parts' convolutions, by a dependence on one voxel of each."""
    from openvino import opset13

    index = [order.get(part.get_node().get_friendly_name(), -1) for part in parts]
    newest = max(range(len(parts)), key=lambda n: index[n])
    upsampling = parts[newest].get_node()
    while upsampling.get_type_name() in _ELEMENTWISE:
        upsampling = upsampling.input_value(0).get_node()
    place = order.get(upsampling.get_friendly_name(), -1)
    older = [n for n in range(len(parts)) if n != newest]
    # What comes later in the order could itself depend on the upsampling: a circle.
    if upsampling.get_type_name() not in _UPSAMPLING or any(index[n] < 0 or index[n] > place for n in older):
        return
    source = upsampling.input_value(0)
    rank = source.get_partial_shape().rank.get_length()
    zeros, ones = (opset13.constant(np.full(rank, value, np.int64)) for value in (0, 1))
    for n in older:
        voxel = opset13.slice(results[n], zeros, ones, ones)
        source = opset13.add(source, opset13.clamp(voxel, 0.0, _NOTHING)).output(0)
    upsampling.input(0).replace_source_output(source)
