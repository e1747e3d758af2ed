# A small teacher with a tokenizer, as a Hugging Face folder and as GGUF, for tests of whole commands.
# SPDX-License-Identifier: Apache-2.0
"""tiny.py OUT_DIR

Writes OUT_DIR/hf/{config.json,model.safetensors,tokenizer.json,tokenizer_config.json},
OUT_DIR/teacher.gguf with the same weights, and OUT_DIR/corpus/*.txt. Everything is a function of
fixed seeds. Tests import these to write the same files with one thing wrong.
"""
import json
import pathlib
import random
import struct
import sys

import numpy as np

HIDDEN, FFN, BLOCKS, HEADS, KV_HEADS, HEAD_DIM, VOCAB, CONTEXT = 128, 256, 6, 4, 2, 32, 384, 1024
# Code for this machine alone takes half the time to emit.
V4 = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"}
HOST_TARGET = "cpu:x86-64-" + ("v4" if V4 <= set(pathlib.Path("/proc/cpuinfo").read_text().split()) else "v3")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

# -- documents -----------------------------------------------------------------------------------

NOUNS = "file descriptor process signal thread socket buffer page inode mutex timer device".split()
VERBS = "opens closes reads writes maps locks waits signals copies truncates renames removes".split()
ADVERBS = "atomically slowly safely twice never always only immediately".split()


def page(number):
    """A made-up manual page: regular enough to be learned, different enough to be no duplicate."""
    rng = random.Random(number)
    name = f"{rng.choice(VERBS)[:-1]}_{rng.choice(NOUNS)}{number}"
    lines = [f"NAME\n       {name} - {rng.choice(VERBS)} a {rng.choice(NOUNS)}\n",
             f"SYNOPSIS\n       int {name}(int fd, void *{rng.choice(NOUNS)});\n", "DESCRIPTION"]
    for _ in range(rng.randrange(20, 40)):
        lines.append(f"       The {rng.choice(NOUNS)} {rng.choice(VERBS)} the {rng.choice(NOUNS)} "
                     f"{rng.choice(ADVERBS)} and {rng.choice(VERBS)} {rng.randrange(1000)} bytes.")
    lines.append(f"\nRETURN VALUE\n       On success, {name}() returns {rng.randrange(100)}.")
    return "\n".join(lines) + "\n"


def write_corpus(folder, pages=160):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(pages):
        (folder / f"page{number:03}.3.txt").write_text(page(number))


# -- tokenizer -----------------------------------------------------------------------------------

def write_tokenizer(path):
    """Byte-level BPE as SmolLM2 has it: digits alone, then GPT-2's pattern."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([page(n) for n in range(60)], trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    tokenizer.save(str(path))


# -- weights -------------------------------------------------------------------------------------

def shapes():
    """Hugging Face's name -> shape."""
    result = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for block in range(BLOCKS):
        prefix = f"model.layers.{block}."
        result |= {
            prefix + "input_layernorm.weight": (HIDDEN,),
            prefix + "post_attention_layernorm.weight": (HIDDEN,),
            prefix + "self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD_DIM),
            prefix + "mlp.gate_proj.weight": (FFN, HIDDEN),
            prefix + "mlp.up_proj.weight": (FFN, HIDDEN),
            prefix + "mlp.down_proj.weight": (HIDDEN, FFN),
        }
    return result


def weights():
    rng = np.random.default_rng(0)
    result = {}
    for name, shape in shapes().items():
        noise = rng.standard_normal(shape, dtype=np.float32)
        result[name] = 1 + 0.1 * noise if len(shape) == 1 else noise * np.float32(shape[-1] ** -0.5)
    return result


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
    "vocab_size": VOCAB, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
    "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32",
}


def write_hf(folder):
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(), str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>",
         "eos_token": "<|endoftext|>", "add_bos_token": False}))
    write_tokenizer(folder / "tokenizer.json")


# -- GGUF, byte by byte so that anything can be made wrong -----------------------------------------

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


def gguf_string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    if kind == ARRAY:
        item, values = value
        return struct.pack("<IQ", item, len(values)) + b"".join(gguf_value(item, v) for v in values)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}[kind], value)


def gguf_metadata(tokenizer_json):
    model = json.loads(tokenizer_json.read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return {
        "general.architecture": (STRING, "llama"), "general.name": (STRING, "tiny"),
        "llama.context_length": (U32, CONTEXT), "llama.embedding_length": (U32, HIDDEN),
        "llama.block_count": (U32, BLOCKS), "llama.feed_forward_length": (U32, FFN),
        "llama.attention.head_count": (U32, HEADS), "llama.attention.head_count_kv": (U32, KV_HEADS),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.dimension_count": (U32, HEAD_DIM), "llama.rope.freq_base": (F32, 10000.0),
        "llama.vocab_size": (U32, VOCAB),
        "tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, "smollm"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [3 if t in SPECIALS else 1 for t in tokens])),
        "tokenizer.ggml.merges": (ARRAY, (STRING, merges)),
        "tokenizer.ggml.bos_token_id": (U32, 0), "tokenizer.ggml.eos_token_id": (U32, 0),
        "tokenizer.ggml.add_bos_token": (BOOL, False),
    }


def permuted(weight, heads):
    """Rows of each head from halves to pairs: how GGUF stores llama's queries and keys."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def gguf_tensors():
    """(name, array) in the order of the file."""
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
             "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down"}
    result = []
    for name, value in weights().items():
        if name == "model.embed_tokens.weight":
            result.append(("token_embd.weight", value))
        elif name == "model.norm.weight":
            result.append(("output_norm.weight", value))
        else:
            _, _, block, rest = name.split(".", 3)
            local = names[rest.removesuffix(".weight")]
            if local == "attn_q":
                value = permuted(value, HEADS)
            elif local == "attn_k":
                value = permuted(value, KV_HEADS)
            result.append((f"blk.{block}.{local}.weight", value))
    return result


def write_gguf(path, metadata, tensors=None, tensor_count=None, metadata_count=None, offsets=None,
               dims=None, types=None, version=3):
    """Writes a GGUF file. `offsets`, `dims` and `types` replace those of tensors by name, and the
    counts those of the header, to make files that are wrong."""
    tensors = gguf_tensors() if tensors is None else tensors
    offsets, dims, types = offsets or {}, dims or {}, types or {}
    header = struct.pack("<4sIQQ", b"GGUF", version,
                         len(tensors) if tensor_count is None else tensor_count,
                         len(metadata) if metadata_count is None else metadata_count)
    for key, (kind, value) in metadata.items():
        header += gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    data = b""
    for name, value in tensors:
        shape = dims.get(name, tuple(reversed(value.shape)))
        header += gguf_string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        header += struct.pack("<IQ", types.get(name, 0), offsets.get(name, len(data)))
        data += value.tobytes() + bytes(-value.nbytes % 32)
    pathlib.Path(path).write_bytes(header + bytes(-len(header) % 32) + data)


def write_all(out):
    write_hf(out / "hf")
    write_gguf(out / "teacher.gguf", gguf_metadata(out / "hf" / "tokenizer.json"))
    write_corpus(out / "corpus")


if __name__ == "__main__":
    write_all(pathlib.Path(sys.argv[1]))
