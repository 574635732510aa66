#!/usr/bin/env bash
# onnxscript's optimiser, which torch.onnx.export(dynamo=True) calls by itself, takes a small constant for zero and leaves
# the addition out: x / (|x| + 1e-18), the usual guard against 0 / 0, becomes x / |x|, which is NaN at 0.
#
# Expected: only an addition of exactly 0 is left out.
# Seen 2026-11-30, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, PyPI, Linux x86-64, Python 3.11 (200 MB):
#   addend 1e-18: Abs Div, at 0: nan
#   addend 1e-09: Abs Div, at 0: nan
#   addend 1e-07: Abs Add Div, at 0: 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxscript import optimizer


def optimised(addend: float) -> onnx.ModelProto:
    """x / (|x| + addend), as the optimiser leaves it."""
    nodes = [
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("Add", ["size", "addend"], ["guarded"]),
        helper.make_node("Div", ["x", "guarded"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    constant = helper.make_tensor("addend", TensorProto.FLOAT, [], [addend])
    graph = helper.make_graph(nodes, "quotient", ends[:1], ends[1:], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return optimizer.optimize(model)


found = {}
for addend in (1e-18, 1e-9, 1e-7):
    model = optimised(addend)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.zeros(1, np.float32)})
    kinds = " ".join(node.op_type for node in model.graph.node if node.op_type != "Constant")
    found[addend] = (kinds, bool(np.isnan(y[0])))
    print(f"addend {addend:.0e}: {kinds}, at 0: {y[0]}")
if found != {1e-18: ("Abs Div", True), 1e-9: ("Abs Div", True), 1e-7: ("Abs Add Div", False)}:
    raise SystemExit("the behaviour has changed")
PYTHON
