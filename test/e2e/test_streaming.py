# Observing needs memory for one block, however many there are. SPDX-License-Identifier: Apache-2.0
"""test_streaming.py EXECUTOR_TOOL LIBRARY: observes a model of 6 and one of 48 blocks, both sparse
files of zeros. The second has 400 MB more of weights in bf16 and may not need half of that more memory."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

HIDDEN, FFN, VOCAB = 768, 1024, 1024  # what is solved for grows by the cube of the FFN


def write_model(directory, blocks):
    directory.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_hidden_layers": blocks, "num_attention_heads": 12, "num_key_value_heads": 12,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": [HIDDEN]}
    for i in range(blocks):
        p = f"model.layers.{i}."
        for name in "qkvo":
            shapes[f"{p}self_attn.{name}_proj.weight"] = [HIDDEN, HIDDEN]
        shapes[p + "mlp.gate_proj.weight"] = [FFN, HIDDEN]
        shapes[p + "mlp.up_proj.weight"] = [FFN, HIDDEN]
        shapes[p + "mlp.down_proj.weight"] = [HIDDEN, FFN]
        shapes[p + "input_layernorm.weight"] = [HIDDEN]
        shapes[p + "post_attention_layernorm.weight"] = [HIDDEN]
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def main():
    tool, library = sys.argv[1:3]
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        for blocks in (6, 48):
            directory = pathlib.Path(name) / str(blocks)
            write_model(directory, blocks)
            command = [tool, library, directory, "memory", "512"]
            result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            assert result["blocks"] == blocks
            peaks.append(result["peak_kib"] / 1024)
    print(f"6 blocks: {peaks[0]:.0f} MiB, 48 blocks: {peaks[1]:.0f} MiB")
    if peaks[1] > peaks[0] + 170:
        sys.exit("memory grows with the number of blocks")


if __name__ == "__main__":
    main()
