# A large model that takes no disk: for measuring memory. SPDX-License-Identifier: Apache-2.0
"""make_sparse_model.py OUT_DIR [--gigabytes 8 | --shape 1B] [--shards 4]

Writes a Hugging Face directory of a Llama model of about this size in bf16 whose safetensors files are
holes but for their headers: all weights are 0. It has a tokenizer.json of bytes and padding tokens,
so that it can be compiled. Prints the parameters and the bytes as stored. --shape makes a model of the
shapes of Llama 3.2 1B or 3B, or Llama 3.1 8B; without it the layers are those of 8B, as many as fit.
"""
import argparse
import json
import math
import pathlib
import struct

HIDDEN, HEADS, KV_HEADS, FFN, VOCAB = 4096, 32, 8, 14336, 128256
LAYER = {
    "input_layernorm.weight": [HIDDEN],
    "self_attn.q_proj.weight": [HIDDEN, HIDDEN],
    "self_attn.k_proj.weight": [HIDDEN // HEADS * KV_HEADS, HIDDEN],
    "self_attn.v_proj.weight": [HIDDEN // HEADS * KV_HEADS, HIDDEN],
    "self_attn.o_proj.weight": [HIDDEN, HIDDEN],
    "post_attention_layernorm.weight": [HIDDEN],
    "mlp.gate_proj.weight": [FFN, HIDDEN],
    "mlp.up_proj.weight": [FFN, HIDDEN],
    "mlp.down_proj.weight": [HIDDEN, FFN],
}
OUTER = {
    "model.embed_tokens.weight": [VOCAB, HIDDEN],
    "model.norm.weight": [HIDDEN],
}


# hidden, heads, key/value heads, head size, ffn, layers, whether embedding and logits share a table
SHAPES = {"1B": (2048, 32, 8, 64, 8192, 16, True), "3B": (3072, 24, 8, 128, 8192, 28, True),
          "8B": (4096, 32, 8, 128, 14336, 32, False)}


def stored(shape):
    return 2 * math.prod(shape)


def write_shard(path, tensors):
    header, at = {}, 0
    for name, shape in tensors.items():
        end = at + stored(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


def write_tokenizer(directory, vocab_size=VOCAB):
    """The 256 bytes of the GPT-2 alphabet, then padding tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 256
    for byte in range(256):
        letters[byte] = chr(byte) if byte in printable else chr(extra)
        extra += byte not in printable
    vocab = {letters[byte]: byte for byte in range(256)}
    added = []
    for token in range(256, vocab_size):
        content = "<|end|>" if token == 256 else f"<|pad{token}|>"
        added.append({"id": token, "content": content, "single_word": False, "lstrip": False,
                      "rstrip": False, "normalized": False, "special": True})
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    (directory / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": []}}))
    (directory / "tokenizer_config.json").write_text(json.dumps(
        {"eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"}))


def make(directory, gigabytes, shards):
    outer = sum(stored(shape) for shape in OUTER.values())
    layer = sum(stored(shape) for shape in LAYER.values())
    layers = max(1, round((gigabytes * 1e9 - outer) / layer))
    write(directory, (HIDDEN, HEADS, KV_HEADS, HIDDEN // HEADS, FFN, layers, True), shards)


def make_shape(directory, name, shards=4):
    write(directory, SHAPES[name], shards)


def write(directory, shape, shards):
    hidden, heads, kv_heads, head, ffn, layers, tied = shape
    sizes = {**LAYER, "self_attn.q_proj.weight": [heads * head, hidden],
             "self_attn.k_proj.weight": [kv_heads * head, hidden],
             "self_attn.v_proj.weight": [kv_heads * head, hidden],
             "self_attn.o_proj.weight": [hidden, heads * head],
             "mlp.gate_proj.weight": [ffn, hidden], "mlp.up_proj.weight": [ffn, hidden],
             "mlp.down_proj.weight": [hidden, ffn], "input_layernorm.weight": [hidden],
             "post_attention_layernorm.weight": [hidden]}
    tensors = {"model.embed_tokens.weight": [VOCAB, hidden], "model.norm.weight": [hidden]}
    if not tied:
        tensors["lm_head.weight"] = [VOCAB, hidden]
    tensors |= {f"model.layers.{i}.{name}": size for i in range(layers) for name, size in sizes.items()}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
        "hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head,
        "vocab_size": VOCAB, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "max_position_embeddings": 8192, "tie_word_embeddings": tied, "eos_token_id": 256}, indent=1))
    names, weight_map = list(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        own = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        write_shard(directory / file, {name: tensors[name] for name in own})
        weight_map |= {name: file for name in own}
    total = sum(stored(shape) for shape in tensors.values())
    (directory / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    write_tokenizer(directory)
    print(f"{directory}: {layers} layers, {total // 2} parameters, {total} bytes as stored")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--shards", type=int, default=4)
    options = parser.parse_args()
    if options.shape:
        return make_shape(options.out, options.shape, options.shards)
    make(options.out, options.gigabytes, options.shards)


if __name__ == "__main__":
    main()
