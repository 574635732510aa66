#!/usr/bin/env bash
# onnxruntime computes every output of a graph, also those that run() was not asked for: an output that is seldom wanted
# costs its time in every call, and belongs in a graph of its own.
#
# Expected, as the names of the outputs that are wanted are given with each call: what only others need is not run.
# Seen 2026-12-01, onnxruntime 1.32.0 with onnx==1.23.2 numpy==2.4.6, PyPI, Linux x86-64, Python 3.11: asked for the
# output of Relu alone, the session's own profile lists
#   cheap_node, dear_node
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$folder/env/bin/python" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "weight")
nodes = [
    helper.make_node("Relu", ["x"], ["cheap"], "cheap_node"),
    helper.make_node("MatMul", ["x", "weight"], ["dear"], "dear_node"),
]
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("x", "cheap", "dear")]
graph = helper.make_graph(nodes, "two", values[:1], values[1:], [weight])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), "two.onnx")

options = onnxruntime.SessionOptions()
options.enable_profiling = True
session = onnxruntime.InferenceSession("two.onnx", options, providers=["CPUExecutionProvider"])
for _ in range(3):
    session.run(["cheap"], {"x": np.ones((1, 64), np.float32)})
with open(session.end_profiling()) as file:
    events = json.load(file)
ran = sorted({e["name"].removesuffix("_kernel_time") for e in events if e["name"].endswith("_kernel_time")})
print(", ".join(ran))
if ran != ["cheap_node", "dear_node"]:
    raise SystemExit("the behaviour has changed")
PYTHON
