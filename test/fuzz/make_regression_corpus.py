# Damaged and malicious checkpoints, one file or folder each. SPDX-License-Identifier: Apache-2.0
"""make_regression_corpus.py OUT_DIR

Writes OUT_DIR/bad/NAME.gguf and OUT_DIR/bad/NAME/ (Hugging Face folders), none of which may be read,
and OUT_DIR/good/... which must be (and are the fuzzers' seeds). The shapes are those of the known
vulnerabilities of other readers, named beside them (sources: CVE records and pull requests of
llama.cpp, gguf-py, Ollama and safetensors). Files are a few hundred bytes.
"""
import json
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", U64: "Q", I64: "q",
           F64: "d", BOOL: "B"}


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    return text(content) if kind == STRING else struct.pack("<" + FORMATS[kind], content)


def entry(key, kind, content):
    return text(key) + struct.pack("<I", kind) + value(kind, content)


def array(key, kind, count, content=b""):
    return text(key) + struct.pack("<IIQ", ARRAY, kind, count) + content


def tensor(name, sizes, kind=0, offset=0):
    """`sizes` fastest first, as the file has them."""
    return (text(name) + struct.pack("<I", len(sizes)) + b"".join(struct.pack("<Q", n) for n in sizes)
            + struct.pack("<IQ", kind & 0xFFFFFFFF, offset))


def gguf(values=(), tensors=(), data=b"", version=3, counts=None, alignment=32):
    n_tensors, n_values = counts or (len(tensors), len(values))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_values) + b"".join(values)
    head += b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data


# A model small enough to read whole: one layer, 8 features, 16 tokens.
KEYS = {
    "general.architecture": (STRING, "llama"),
    "llama.context_length": (U32, 32),
    "llama.embedding_length": (U32, 8),
    "llama.block_count": (U32, 1),
    "llama.feed_forward_length": (U32, 8),
    "llama.attention.head_count": (U32, 2),
    "llama.attention.head_count_kv": (U32, 1),
    "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
}
SHAPES = {
    "token_embd.weight": [8, 16],
    "output_norm.weight": [8],
    "blk.0.attn_norm.weight": [8],
    "blk.0.attn_q.weight": [8, 8],
    "blk.0.attn_k.weight": [8, 4],
    "blk.0.attn_v.weight": [8, 4],
    "blk.0.attn_output.weight": [8, 8],
    "blk.0.ffn_norm.weight": [8],
    "blk.0.ffn_gate.weight": [8, 8],
    "blk.0.ffn_up.weight": [8, 8],
    "blk.0.ffn_down.weight": [8, 8],
}


def model(changes=None, drop=(), shapes=None, extra=()):
    """The small model with some keys changed (key -> (kind, content), or raw bytes)."""
    keys = {**KEYS, **(changes or {})}
    values = [v if isinstance(v, bytes) else entry(k, *v) for k, v in keys.items() if k not in drop]
    tensors, offset = [], 0
    for name, sizes in {**SHAPES, **(shapes or {})}.items():
        if name in drop:
            continue
        tensors.append(tensor(name, sizes, 0, offset))
        size = 4
        for n in sizes:
            size *= n
        offset += (size + 31) // 32 * 32
    return gguf(values, tensors + list(extra), bytes(offset))


def bad_gguf_structure():
    w = lambda *args: gguf((), [tensor("w", *args)], bytes(64))
    yield "empty", b""
    yield "magic-only", b"GGUF"
    yield "wrong-magic", b"GGML" + bytes(40)
    yield "zip-polyglot", b"PK\x03\x04" + bytes(60)
    for version in (0, 1, 4, 3 << 24, 0xFFFFFFFF):
        yield f"version-{version:x}", gguf(version=version)
    # llama.cpp tests/test-gguf.cpp; CVE-2025-53630 and its bypass CVE-2026-27940: counts that wrap
    for name, count in (("minus-one", 2**64 - 1), ("wrapping", 0x7FFFFFFFFFFFFFC0), ("2e40", 2**40)):
        yield f"tensor-count-{name}", gguf(counts=(count, 0), data=bytes(64))
        yield f"value-count-{name}", gguf(counts=(0, count), data=bytes(64))
    yield "key-length-minus-one", gguf([struct.pack("<Q", 2**64 - 1)], data=bytes(64))
    yield "key-empty", gguf([entry("", U32, 1)])
    yield "key-twice", gguf([entry("a", U32, 1), entry("a", U32, 1)])
    yield "key-control-characters", gguf([entry("a\n\x1b[31mb", U32, 1)])
    yield "value-type-unknown", gguf([text("a") + struct.pack("<II", 13, 0)])
    yield "value-type-negative", gguf([text("a") + struct.pack("<iI", -1, 0)])
    yield "string-length-minus-one", gguf(
        [text("a") + struct.pack("<IQ", STRING, 2**64 - 1)], data=bytes(32))
    # gguf-py PR 27188: a 43-byte file with an array of 2^63 elements
    yield "array-2e63", gguf([array("a", U8, 2**63)])
    yield "array-product-wraps", gguf([array("a", U64, 2**61 + 1)], data=bytes(64))
    yield "array-1GiB", gguf([array("a", U8, 2**30)], data=bytes(96))
    yield "array-strings-2e60", gguf([array("a", STRING, 2**60)], data=bytes(64))
    yield "array-of-arrays", gguf([array("a", ARRAY, 1, struct.pack("<IQ", U8, 0))])
    # llama.cpp PR 26318: alignment that wraps GGML_PAD, and read before its type is checked
    for alignment in (0, 13, 2**21, 2**31, 2**32 - 1):
        yield f"alignment-{alignment}", gguf(
            [entry("general.alignment", U32, alignment)], [tensor("w", [8])], bytes(64))
    yield "alignment-string", gguf([entry("general.alignment", STRING, "32")], [tensor("w", [8])],
                                   bytes(64))
    yield "alignment-array", gguf([array("general.alignment", U32, 0)], [tensor("w", [8])], bytes(64))
    yield "data-starts-after-end", gguf([entry("general.alignment", U32, 2**20)], [tensor("w", [8])])
    yield "tensor-name-empty", gguf((), [tensor("", [8])], bytes(64))
    yield "tensor-name-newline", gguf((), [tensor("w\nx", [8])], bytes(64))
    yield "tensor-name-long", gguf((), [tensor("w" * 5000, [8])], bytes(64))
    yield "tensor-rank-0", w([])
    yield "tensor-rank-5", w([1] * 5)
    yield "tensor-rank-4e9", gguf((), [text("w") + struct.pack("<I", 2**32 - 1)], bytes(64))
    yield "tensor-size-0", w([8, 0])
    # CVE-2026-33298 (GHSA-96jg-mvhq-q7q7): sizes whose product wraps to a small buffer
    yield "tensor-size-wraps", w([2**32, 2**32])
    yield "tensor-size-wraps-to-64", w([16, 2**60 + 1])
    yield "tensor-bytes-wrap", w([2**62 + 4])
    yield "tensor-size-negative", w([2**64 - 8])
    yield "tensor-type-negative", w([8], -1)
    yield "tensor-type-unknown", w([8], 99)
    yield "tensor-type-removed", w([32], 4)
    yield "tensor-type-unread", w([32], 20)
    yield "tensor-row-not-blocks", w([33], 2)
    yield "tensor-offset-unaligned", w([4], 0, 8)
    # CVE-2026-7482: data said to lie beyond the file's end
    yield "tensor-offset-past-end", w([8], 0, 2**20)
    yield "tensor-offset-wraps", w([8], 0, 2**64 - 32)
    yield "tensor-data-truncated", w([17])
    yield "tensor-twice", gguf((), [tensor("w", [8]), tensor("w", [8], 0, 32)], bytes(64))
    yield "tensors-overlap", gguf((), [tensor("v", [9]), tensor("w", [8], 0, 32)], bytes(64))
    whole = model()
    for cut in (30, 200, 500, len(whole) - 600, len(whole) - 1):
        yield f"truncated-at-{cut}", whole[:cut]


def bad_gguf_models():
    arch = "general.architecture"
    yield "architecture-unknown", model({arch: (STRING, "mamba")})
    yield "architecture-control-characters", model({arch: (STRING, "x\r\n\x00y")})
    yield "architecture-number", model({arch: (U32, 1)})
    yield "architecture-missing", model(drop=[arch])
    # llama.cpp PR 25821: block_count beyond fixed arrays
    for count in (0, 1025, 2**31, 2**32 - 1):
        yield f"block-count-{count}", model({"llama.block_count": (U32, count)})
    yield "block-count-negative", model({"llama.block_count": (I32, -1)})
    yield "block-count-2e63", model({"llama.block_count": (U64, 2**63)})
    yield "block-count-string", model({"llama.block_count": (STRING, "1")})
    heads, kv = "llama.attention.head_count", "llama.attention.head_count_kv"
    yield "heads-0", model({heads: (U32, 0)})
    yield "heads-huge", model({heads: (U32, 2**32 - 1)})
    yield "heads-do-not-divide", model({heads: (U32, 3)})
    yield "kv-heads-0", model({kv: (U32, 0)})
    yield "kv-heads-above-heads", model({kv: (U32, 4)})
    yield "kv-heads-negative", model({kv: (I32, -1)})
    yield "kv-heads-list-length", model({kv: array(kv, U32, 2, struct.pack("<II", 1, 1))})
    yield "hidden-0", model({"llama.embedding_length": (U32, 0)})
    yield "hidden-2e40", model({"llama.embedding_length": (U64, 2**40)})
    yield "ffn-0", model({"llama.feed_forward_length": (U32, 0)})
    yield "context-0", model({"llama.context_length": (U32, 0)})
    eps = "llama.attention.layer_norm_rms_epsilon"
    for name, number in (("nan", float("nan")), ("infinite", float("inf")), ("negative", -1.0)):
        yield f"epsilon-{name}", model({eps: (F32, number)})
        yield f"rope-base-{name}", model({"llama.rope.freq_base": (F32, number)})
    rope = "llama.rope.dimension_count"
    for dims in (0, 3, 6, 2**32 - 1):
        yield f"rope-dims-{dims}", model({rope: (U32, dims)})
    scaling = {"llama.rope.scaling.type": (STRING, "linear")}
    yield "rope-scaling-0", model({**scaling, "llama.rope.scaling.factor": (F32, 0.0)})
    yield "rope-scaling-unknown", model({"llama.rope.scaling.type": (STRING, "longrope")})
    yield "rope-factors-too-many", model(shapes={"rope_freqs.weight": [3]})
    yield "rope-factors-zero", model(shapes={"rope_freqs.weight": [2]})
    yield "experts", model({"llama.expert_count": (U32, 8)})
    yield "value-heads-differ", model({"llama.attention.value_length": (U32, 2)})
    yield "embedding-missing", model(drop=["token_embd.weight"])
    yield "embedding-vector", model(shapes={"token_embd.weight": [128]})


CONFIG = {
    "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 8, "vocab_size": 16, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 32,
}
W = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def safetensors(header, data=bytes(8), length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def bad_safetensors():
    one = json.dumps({"w": W}, separators=(",", ":")).encode()
    yield "st-empty", b""
    yield "st-short", bytes(7)
    yield "st-header-length-0", safetensors(b"")
    yield "st-header-length-minus-one", safetensors(one, length=2**64 - 1)
    yield "st-header-length-past-end", safetensors(one, length=10000)
    yield "st-header-length-100MB", safetensors(one, length=100_000_001)
    yield "st-header-not-json", safetensors(b"{not json}")
    yield "st-header-list", safetensors(b"[]")
    yield "st-header-space-first", safetensors(b" " + one)
    yield "st-header-nul-padded", safetensors(one + b"\0\0\0")
    yield "st-header-hides-behind-nul", safetensors(one + b"\0" + one)
    yield "st-header-two-documents", safetensors(one + one)
    yield "st-header-nested", safetensors(b'{"w":' + b"[" * 5000 + b"]" * 5000 + b"}")
    yield "st-header-nested-objects", safetensors(b'{"w":' * 5000 + b"1" + b"}" * 5000)
    yield "st-header-bad-utf8", safetensors(one.replace(b"w", b"\xff"))
    yield "st-tensor-twice", safetensors(b"{" + one[1:-1] + b"," + one[1:-1] + b"}")
    yield "st-field-twice", safetensors(one.replace(b'"shape"', b'"dtype":"F32","shape"'))
    yield "st-field-unknown", safetensors({"w": {**W, "x": [1]}})
    for field in W:
        yield f"st-no-{field}", safetensors({"w": {k: v for k, v in W.items() if k != field}})
    yield "st-dtype-unknown", safetensors({"w": {**W, "dtype": "F99"}})
    for name, shape in (("negative", [-2]), ("fraction", [2.0]), ("zero", [0]), ("long", [1] * 9),
                        ("wraps", [2**32, 2**32]), ("wraps-to-2", [2**63 + 1, 2]), ("2e64", [2**64]),
                        ("string", ["2"]), ("nested", [[2]])):
        yield f"st-shape-{name}", safetensors({"w": {**W, "shape": shape}})
    for name, offsets in (("reversed", [8, 0]), ("past-end", [0, 16]), ("short", [0, 4]),
                          ("one", [8]), ("three", [0, 4, 8]), ("huge", [0, 2**64 - 1]),
                          ("negative", [-8, 0])):
        yield f"st-offsets-{name}", safetensors({"w": {**W, "data_offsets": offsets}})
    # The polyglots of Trail of Bits' audit: bytes that no tensor covers, or two do
    yield "st-trailing-bytes", safetensors({"w": W}, bytes(9))
    yield "st-gap", safetensors({"w": W, "v": {**W, "data_offsets": [12, 20]}}, bytes(20))
    yield "st-starts-late", safetensors({"w": {**W, "data_offsets": [4, 12]}}, bytes(12))
    yield "st-overlap", safetensors({"w": W, "v": {**W, "data_offsets": [4, 12]}}, bytes(12))
    yield "st-same-bytes", safetensors({"w": W, "v": W})
    yield "st-name-empty", safetensors({"": W})
    yield "st-name-newline", safetensors({"w\nx": W})
    yield "st-metadata-number", safetensors({"__metadata__": {"a": 1}, "w": W})


def bad_configs():
    """Texts of config.json beside a sound file of tensors."""
    yield "config-empty", ""
    yield "config-truncated", json.dumps(CONFIG)[:60]
    yield "config-list", "[]"
    yield "config-nested", '{"a":' + "[" * 100000
    yield "config-key-twice", json.dumps(CONFIG)[:-1] + ',"hidden_size":8}'
    yield "config-nul", json.dumps(CONFIG) + "\0{}"
    for key, content in (
        ("model_type", "bert"), ("model_type", 3), ("hidden_size", -8), ("hidden_size", 2**63),
        ("hidden_size", 8.5), ("hidden_size", "8"), ("num_hidden_layers", 10**9),
        ("num_hidden_layers", 0), ("num_attention_heads", 0), ("num_attention_heads", 3),
        ("num_key_value_heads", 0), ("num_key_value_heads", 8), ("intermediate_size", 0),
        ("vocab_size", 0), ("vocab_size", 10**12), ("head_dim", 0), ("head_dim", 10**6), ("head_dim", 2**63 - 1),
        ("rms_norm_eps", -1), ("max_position_embeddings", 0), ("hidden_act", "relu"),
        ("rope_theta", 0), ("rope_scaling", []), ("rope_scaling", {"type": "dynamic", "factor": 2}),
        ("rope_scaling", {"type": "linear", "factor": -1}), ("partial_rotary_factor", 2.0),
        ("quantization_config", {"quant_method": "aqlm"})):
        label = str(content) if isinstance(content, (int, float, str)) else type(content).__name__
        if isinstance(content, dict):
            label = "-".join(str(v) for v in content.values())
        yield f"config-{key}-{label}", json.dumps({**CONFIG, key: content})


def bad_indexes():
    """Texts of model.safetensors.index.json beside model-1.safetensors, which has tensor w."""
    where = lambda shard: json.dumps({"weight_map": {"w": shard}})
    yield "index-empty", ""
    yield "index-no-map", "{}"
    yield "index-map-list", json.dumps({"weight_map": []})
    # The path traversals of ONNX's external data (CVE-2022-25882 and its successors)
    yield "index-parent", where("../secret.safetensors")
    yield "index-inner-parent", where("a/../../secret.safetensors")
    yield "index-absolute", where("/etc/passwd")
    yield "index-hidden", where(".model.safetensors")
    yield "index-other-kind", where("config.json")
    yield "index-number", where(7)
    yield "index-missing-shard", where("model-2.safetensors")
    yield "index-missing-tensor", json.dumps({"weight_map": {"v": "model-1.safetensors"}})


def tensors_of(shapes, contents=None):
    """A safetensors file of zeros: name -> (dtype, shape), with other bytes for some."""
    sizes = {"F16": 2, "I32": 4, "F32": 4, "U8": 1, "I8": 1, "F8_E4M3": 1, "I64": 8}
    header, data = {}, b""
    for name, (dtype, shape) in shapes.items():
        count = sizes[dtype]
        for size in shape:
            count *= size
        content = (contents or {}).get(name, bytes(count))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + count]}
        data += content
    return safetensors(header, data)


STATE = json.dumps({"quant_type": "nf4", "blocksize": 64, "shape": [8, 8], "nested_blocksize": 256,
                    "nested_offset": 0.5}).encode()
LORA = "base_model.model.model.layers.0.self_attn.q_proj."
# name -> a config and tensors of shapes: a matrix of 8x8 or 8x32 by each method, and an adapter.
FOLDERS = {
    "gptq": ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": -1}},
             {"w.qweight": ("I32", [1, 8]), "w.qzeros": ("I32", [1, 1]), "w.scales": ("F16", [1, 8]),
              "w.g_idx": ("I32", [8])}),
    "awq": ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 8}},
            {"w.qweight": ("I32", [8, 1]), "w.qzeros": ("I32", [1, 1]), "w.scales": ("F16", [1, 8])}),
    "packed": ({"quantization_config": {"quant_method": "compressed-tensors"}},
               {"w.weight_packed": ("I32", [8, 1]), "w.weight_scale": ("F16", [8, 1]),
                "w.weight_shape": ("I64", [2]), "w.weight_zero_point": ("I32", [1, 1])}),
    "nvfp4": ({"quantization_config": {"quant_method": "compressed-tensors"}},
              {"w.weight_packed": ("U8", [8, 16]), "w.weight_scale": ("F8_E4M3", [8, 2]),
               "w.weight_global_scale": ("F32", [1])}),
    "fp8": ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [4, 4]}},
            {"w.weight": ("F8_E4M3", [8, 8]), "w.weight_scale_inv": ("F32", [2, 2])}),
    "mxfp4": ({"quantization_config": {"quant_method": "mxfp4"}},
              {"w_blocks": ("U8", [8, 1, 16]), "w_scales": ("U8", [8, 1])}),
    "nf4": ({"quantization_config": {"quant_method": "bitsandbytes"}},
            {"w.weight": ("U8", [32, 1]), "w.weight.absmax": ("U8", [1]),
             "w.weight.quant_map": ("F32", [16]), "w.weight.nested_quant_map": ("F32", [256]),
             "w.weight.nested_absmax": ("F32", [1]),
             "w.weight.quant_state.bitsandbytes__nf4": ("U8", [len(STATE)])}),
    "int8": ({"quantization_config": {"load_in_8bit": True}},
             {"w.weight": ("I8", [8, 8]), "w.SCB": ("F32", [8])}),
    "lora": ({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "rank_pattern": {"k_proj": 3}},
             {LORA + "lora_A.weight": ("F32", [2, 8]), LORA + "lora_B.weight": ("F32", [8, 2])}),
    "dora": ({"peft_type": "LORA", "r": 2, "use_dora": True},
             {LORA + "lora_A.weight": ("F32", [2, 8]), LORA + "lora_B.weight": ("F32", [8, 2]),
              LORA + "lora_magnitude_vector": ("F32", [8])}),
}
CONTENTS = {"w.weight.quant_state.bitsandbytes__nf4": STATE,
            "w.weight_shape": struct.pack("<QQ", 8, 8)}


def bad_folders():
    """Configs and tensors of quantised checkpoints that do not fit together."""
    for method in ("gptq", "awq", "packed", "nvfp4", "fp8", "mxfp4", "nf4", "int8"):
        config, shapes = FOLDERS[method]
        last = list(shapes)[-1 if method != "gptq" else 2]
        without = {name: shape for name, shape in shapes.items() if name != last}
        if method not in ("packed", "nf4", "int8"):  # which do without it, or are then not quantised
            yield f"quantized-{method}-without", config, tensors_of(without, CONTENTS)
        dtype, shape = shapes[last]
        yield f"quantized-{method}-shape", config, tensors_of({**shapes, last: (dtype, [*shape, 2])}, {})


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def main():
    out = pathlib.Path(sys.argv[1])
    bad, good = out / "bad", out / "good"
    count = 0
    for name, content in [*bad_gguf_structure(), *bad_gguf_models()]:
        write(bad / f"{name}.gguf", content)
        count += 1
    sound = safetensors({"w": W})
    for name, content in bad_safetensors():
        write(bad / name / "model.safetensors", content)
        write(bad / name / "config.json", json.dumps(CONFIG))
        count += 1
    for name, content in bad_configs():
        write(bad / name / "model.safetensors", sound)
        write(bad / name / "config.json", content)
        count += 1
    for name, content in bad_indexes():
        write(bad / name / "model-1.safetensors", sound)
        write(bad / name / "config.json", json.dumps(CONFIG))
        write(bad / name / "model.safetensors.index.json", content)
        count += 1
    for name, config, content in bad_folders():
        write(bad / name / "model.safetensors", content)
        write(bad / name / "config.json", json.dumps({**CONFIG, **config}))
        count += 1
    (bad / "folder-without-config").mkdir(exist_ok=True)
    write(bad / "folder-without-tensors" / "config.json", json.dumps(CONFIG))
    write(good / "gguf" / "model.gguf", model())
    every = [tensor(f"t{kind}", [256], kind, i * 1024)
             for i, kind in enumerate((0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 30))]
    kinds = [entry(f"k{kind}", kind, "text" if kind == STRING else 1) for kind in (*FORMATS, STRING)]
    kinds += [array("a", U32, 2, bytes(8)), array("s", STRING, 2, text("x") + text(""))]
    write(good / "gguf" / "every-type.gguf", gguf(kinds, every, bytes(13 * 1024)))
    write(good / "safetensors" / "w.safetensors", sound)
    write(good / "safetensors" / "integers.safetensors", safetensors({"w": {**W, "dtype": "I64", "shape": [1]}}))
    write(good / "safetensors" / "two.safetensors", safetensors(
        {"__metadata__": {"format": "pt"}, "w": W,
         "v": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [8, 20]}}, bytes(20)))
    write(good / "config" / "llama.json", json.dumps(CONFIG))
    write(good / "config" / "gemma3.json", json.dumps(
        {**CONFIG, "model_type": "gemma3_text", "head_dim": 4, "sliding_window": 4,
         "layer_types": ["sliding_attention"],
         "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0},
                             "sliding_attention": {"rope_type": "default"}}}))
    for name, (config, shapes) in FOLDERS.items():
        head = json.dumps(config).encode() + b"\0"
        write(good / "folder" / name, head + tensors_of(shapes, CONTENTS))
    print(f"{count + 2} damaged checkpoints")


if __name__ == "__main__":
    main()
