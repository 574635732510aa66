#!/usr/bin/env bash
# transformers 5.24.0: a model that is read from a GGUF file by gguf_file= alone counts as quantised, and save_pretrained
# refuses it, although its weights are plain float32 tensors. Reading one to keep it as a folder, which 5.0.0 did
# with the same two lines, needs quantization_config=GgufConfig(gguf_file=…, dequantize=True), which 5.0.0 does not have.
#
# Expected: that a model of nothing but float32 tensors can be saved, or that reading it warns.
# Seen 2026-11-29 with transformers 5.24.0, gguf 0.19.0, torch 2.11.0, PyPI, Linux x86-64, Python 3.11, and a Llama of
# one layer in float32 that the script writes:
#   transformers 5.0.0: parameters {('Parameter', 'torch.float32')}
#   gguf_file= alone: saved
#   transformers 5.24.0: parameters {('Parameter', 'torch.float32')}
#   gguf_file= alone: ValueError: The model is quantized with gguf and is not serializable - check out the warnings …
#   with GgufConfig(dequantize=True): saved
# Installs about 4.6 GB, as torch on PyPI is a CUDA build.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python="$folder/env/bin/python"

cat >"$folder/try.py" <<'PYTHON'
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

folder = Path(sys.argv[1])
WIDTH, INNER, WORDS = 32, 64, 64
writer = gguf.GGUFWriter(str(folder / "one.gguf"), "llama")
writer.add_block_count(1)
writer.add_context_length(64)
writer.add_embedding_length(WIDTH)
writer.add_feed_forward_length(INNER)
writer.add_head_count(2)
writer.add_head_count_kv(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_freq_base(10000.0)
writer.add_rope_dimension_count(16)
writer.add_vocab_size(WORDS)
writer.add_tokenizer_model("gpt2")
writer.add_token_list([f"w{number}" for number in range(WORDS)])
writer.add_token_merges(["w 0"])
writer.add_eos_token_id(1)
shapes = {"token_embd": (WORDS, WIDTH), "output_norm": (WIDTH,)}
for name in ("attn_norm", "ffn_norm"):
    shapes[f"blk.0.{name}"] = (WIDTH,)
for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
    shapes[f"blk.0.{name}"] = (WIDTH, WIDTH)
shapes |= {"blk.0.ffn_gate": (INNER, WIDTH), "blk.0.ffn_up": (INNER, WIDTH), "blk.0.ffn_down": (WIDTH, INNER)}
rng = np.random.default_rng(0)
for name, shape in shapes.items():
    writer.add_tensor(f"{name}.weight", rng.normal(0, 0.1, shape).astype(np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


def saved(model, where):
    try:
        model.save_pretrained(folder / where)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "saved"


alone = AutoModelForCausalLM.from_pretrained(folder, gguf_file="one.gguf", dtype=torch.float32)
kinds = {(type(p).__name__, str(p.dtype)) for p in alone.parameters()}
print(f"transformers {transformers.__version__}: parameters {kinds}")
first = saved(alone, "alone")
print(f"gguf_file= alone: {first}")
if transformers.__version__ == "5.0.0":
    raise SystemExit(first != "saved")
config = transformers.GgufConfig(gguf_file=str(folder / "one.gguf"), dequantize=True)
plain = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file="one.gguf", dtype=torch.float32, quantization_config=config
)
second = saved(plain, "plain")
print(f"with GgufConfig(dequantize=True): {second}")
raise SystemExit(first == "saved" or second != "saved" or kinds != {("Parameter", "torch.float32")})
PYTHON

uv venv -q -p 3.11 "$folder/env"
uv pip install -q -p "$python" torch==2.11.0 transformers==5.0.0 gguf==0.19.0 accelerate==1.15.0
"$python" "$folder/try.py" "$folder" 2>/dev/null
uv pip install -q -p "$python" transformers==5.24.0
"$python" "$folder/try.py" "$folder" 2>/dev/null
