#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`retort export`: what other engines read is the bundle's model.

    test_export.py RETORT EXECUTOR_TOOL LIBRETORT_TORCH

1. Small random models of the families that export writes, as transformers makes them; compiled with a block pruned and
   weights of 4 bits; exported to safetensors and GGUF as f32. transformers' logits of the folder, and of the GGUF file
   where it reads the architecture, are the executor's of the same pruned and rounded model; so are the executor's of the GGUF file. What
   a format cannot say is refused, and nothing is written.
2. A pruned vocabulary, heads and FFN; a head of its own; f16 and bf16; ids by tokenizers and by transformers from GGUF.
3. Refusals.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import tokenizers
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_models
import make_sparse_model
import tiny
from bundles import FAKE_NVCC, executor_logits, rehashed
from thorough import often

RETORT, TOOL, TORCH = sys.argv[1:]
LIMIT = 1e-3
MODELS = ["llama_bias", "llama3_rope", "mistral", "qwen2", "gemma3", "granite", "smollm3"]
MODELS += often([], ["llama", "yarn", "linear_rope", "qwen2_window", "qwen3", "gemma", "gemma2", "olmo2", "seed_oss"])
make_models.MODELS["llama_bias"][1]["head_dim"] = 32  # kernels have no 24
# transformers reads these GGUF files as llama.cpp does; of others it leaves biases, head sizes or scaling out.
GGUF_BY_TRANSFORMERS = {"llama", "qwen2"}
# What GGUF has no key for, once a block is gone.
NOT_IN_GGUF = {"qwen2_window": "sliding windows are not supported in a GGUF file", "gemma2": "scale", "gemma3": "scale",
               "smollm3": "lm.rope"}
USAGE, BAD_INPUT, UNSUPPORTED, IO = 2, 3, 4, 6
TEXTS = ["The file opens.", "  int fd, void *page);\n\n", "0123 \u4f60\u597d \U0001f600 caf\u00e9", "<|endoftext|>x"]


def run(*arguments, code=0, **environment):
    done = subprocess.run([RETORT, *map(str, arguments)], capture_output=True, text=True,
                          env=dict(os.environ, **{k: str(v) for k, v in environment.items()}))
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done.stderr


def refused(code, words, out, *arguments, **environment):
    error = [line for line in run("export", *arguments, "-q", "-o", out, code=code, **environment).splitlines()
             if not line.startswith("retort: note:")]
    assert len(error) == 1 and words in error[0], error
    assert not pathlib.Path(out).exists() and not [p for p in pathlib.Path(out).parent.iterdir() if "export" in p.name]
    return error[0]


def some_sequences(vocab, *lengths):
    rng = np.random.default_rng(1)
    return [rng.integers(3, vocab, length).tolist() for length in lengths]


def transformers_logits(model, sequences):
    with torch.no_grad():
        return torch.cat([model(torch.tensor([tokens])).logits[0].float() for tokens in sequences])


def by_transformers(folder, **more):
    return transformers.AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=torch.float32, attn_implementation="eager", **more).eval()


def difference(ours, theirs):
    return float(np.abs(np.concatenate(ours) - np.asarray(theirs)).max())


def check_family(name, folder):
    model, bundle = folder / "model", folder / "bundle.retort"
    model.mkdir()
    make_models.make(name, model)
    config = json.loads((model / "config.json").read_text())
    vocab = config["vocab_size"]
    make_sparse_model.write_tokenizer(model, vocab)
    pipeline = "builtin.module(prune-depth{drop=1},quantize-weights{format=i4g32s})"
    run("compile", model, "--passes", pipeline, "--target", tiny.HOST_TARGET, "-q", "-o", bundle)
    sequences = some_sequences(vocab, 1, 40, 30)
    expected = executor_logits(TOOL, TORCH, model, sequences, vocab, folder, pipeline)
    run("export", bundle, "--format", "safetensors", "--type", "f32", "-o", folder / "hf")
    apart = difference(expected, transformers_logits(by_transformers(folder / "hf"), sequences))
    assert apart <= LIMIT, f"{name}: safetensors: logits differ by {apart}"
    file = folder / "model.gguf"
    if name in NOT_IN_GGUF:
        error = refused(UNSUPPORTED, NOT_IN_GGUF[name], file, bundle, "--type", "f32")
        assert "cannot say this model" in error, error
        print(f"{name}: safetensors {apart:.1e}; {error.split('.retort: ')[-1]}", flush=True)
        return
    run("export", bundle, "--type", "f32", "-o", file)
    own = difference(expected, np.concatenate(executor_logits(TOOL, TORCH, file, sequences, vocab, folder)))
    assert own <= LIMIT, f"{name}: GGUF: logits differ by {own}"
    if name in GGUF_BY_TRANSFORMERS:
        theirs = by_transformers(folder, gguf_file="model.gguf")
        other = difference(expected, transformers_logits(theirs, sequences))
        assert other <= LIMIT, f"{name}: GGUF by transformers: logits differ by {other}"
    print(f"{name}: safetensors {apart:.1e}, GGUF {own:.1e}", flush=True)


def check_types(work):
    """A tiny specialist in each type, and its tokenizer."""
    bundle = work / "pruned.retort"
    stats = {"format": "retort-stats-1", "tokens": 100, "blocks": {
        f"blk.{i}": {"ffn": list(np.random.default_rng(i).random(tiny.FFN)), "heads": [1.0, 2.0], "attention_influence": float(i)} for i in range(tiny.BLOCKS)}}
    (work / "stats.json").write_text(json.dumps(stats))
    pipeline = (f"builtin.module(prune-ffn{{keep=0.5 multiple=32 uniform=true stats={work / 'stats.json'}}},"
                f"prune-heads{{keep=1 stats={work / 'stats.json'}}},untie-embedding,"
                "quantize-weights{format=i4g64s embedding=i8g32 logits=i4g32s})")
    run("compile", work / "hf", "--passes", pipeline, "--target", tiny.HOST_TARGET, "-q", "-o", bundle)
    sequences = some_sequences(tiny.VOCAB, 60)
    expected = executor_logits(TOOL, TORCH, work / "hf", sequences, tiny.VOCAB, work, pipeline)
    for type, limit in (("f32", LIMIT), ("f16", 1e-2), ("bf16", 6e-2)):
        folder = work / f"{type}-hf"
        run("export", bundle, "--format", "safetensors", "--type", type, "-o", folder)
        config = json.loads((folder / "config.json").read_text())
        assert (config["intermediate_size"], config["num_key_value_heads"], config["num_attention_heads"]) == (
            tiny.FFN // 2, 1, tiny.HEADS // tiny.KV_HEADS) and not config["tie_word_embeddings"], config
        apart = difference(expected, transformers_logits(by_transformers(folder), sequences))
        assert apart <= limit, f"{type}: logits differ by {apart}"
        file = work / f"{type}.gguf"
        run("export", bundle, "--type", type, "-o", file)
        again = difference(expected, transformers_logits(by_transformers(work, gguf_file=file.name), sequences))
        assert again <= limit, f"{type}: GGUF's logits differ by {again}"
        print(f"{type}: safetensors {apart:.1e}, GGUF {again:.1e}", flush=True)
    reader = gguf.GGUFReader(file)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.attn_q.weight"] == "BF16" and kinds["blk.0.attn_norm.weight"] == "F32", kinds
    assert all(tensor.data_offset % 32 == 0 for tensor in reader.tensors)
    ids = tokenizers.Tokenizer.from_file(str(work / "hf" / "tokenizer.json"))
    slow = transformers.AutoTokenizer.from_pretrained(str(folder))
    from_gguf = transformers.AutoTokenizer.from_pretrained(str(work), gguf_file=file.name)
    for text in TEXTS:
        wanted = ids.encode(text, add_special_tokens=False).ids
        for other in (slow, from_gguf):
            assert other.encode(text, add_special_tokens=False) == wanted, (text, wanted, other.encode(text))
    assert slow.eos_token == from_gguf.eos_token == "<|endoftext|>"
    error = run("export", bundle, "--type", "f16", "-o", file, code=USAGE)
    assert "exists: give --force to replace it" in error, error
    before = file.read_bytes()
    run("export", bundle, "--type", "bf16", "-o", file, "--force")
    assert file.read_bytes() == before, "the same command gave other bytes"
    return bundle


def check_lies(work):
    """A manifest that says another thing of weights than the program does."""
    folder = work / "lies"
    run("compile", work / "hf", "--recipe", "int8", "--target", tiny.HOST_TARGET, "-q", "-o", f"{folder}/")
    manifest = json.loads((folder / "manifest.json").read_text())
    norm = next(i for i, p in enumerate(manifest["params"]) if p["name"] == "blk.0.attn_norm.weight")
    down = next(i for i, p in enumerate(manifest["params"]) if p["name"] == "blk.0.ffn_down.weight")
    for at, change, words in ((down, {"shape": [tiny.HIDDEN, tiny.FFN // 2]}, "has another shape in its program.mlir than in its manifest"),
                              (norm, {"shape": [tiny.HIDDEN // 2]}, "has another shape in its program.mlir than in its manifest"),
                              (down, {"format": "i4g32s"}, "bytes, which is no i4g32s in the layout 'rows16' of its shape"),
                              (down, {"layout": "rows99"}, ""),
                              (norm, {"name": "other"}, "of its program.mlir is not in weights.bin")):
        rehashed(folder, params=[p | change if i == at else p for i, p in enumerate(manifest["params"])])
        refused(BAD_INPUT, words, work / "export-out", folder)


def check_programs(work):
    """Programs that say what the formats cannot."""
    folder = work / "programs"
    run("compile", work / "hf", "--recipe", "int8", "--target", tiny.HOST_TARGET, "-q", "-o", f"{folder}/")
    program = (folder / "program.mlir").read_text()
    second = program.index('lm.block "blk.1"')
    first_line = program.rindex("\n", 0, second) + 1
    blocks = program[program.index("      %0 = lm.block"):program.index("      %output_norm")]
    last = re.search(r"%output_norm = lm.norm (%\w+),", program)[1]
    wide = "tensor<?x256xf32>"
    product = f"@blk.1.attn_qkv.weight : tensor<?x128xf32> -> {wide}\n"
    for where, old, new, words in (
            (0, 'family "llama"', 'family "other"', "its family 'other' has no checkpoints that Retort knows"),
            (first_line, "", "      %sum = lm.residual %0, %0 : tensor<?x128xf32>\n", "lm.residual stands outside of the layers"),
            (0, blocks, "", "it has no layers"),
            (second, "act silu", "act gelu", "its layers differ in their activation"),
            (second, "heads 2 dims 32 base 1.000000e+04", "heads 2 dims 32 base 2.000000e+04", "its layers differ in rotary embeddings"),
            (second, "1.000000e+04", "1.000000e+04 length_scale 0.1 every 64", "its queries grow with their position, which export"),
            (second, "eps 1.000000e-05", "eps 1.000000e-06", "its norms differ in epsilon"),
            (second, "        %7 = lm.rope", f"        %gate = lm.gate %attn_qkv by %attn_qkv act sigmoid : {wide}\n        %7 = lm.rope",
             "it has a split that is no fused product"),
            (second, "        %8 = lm.rope", "        %gate = lm.gate %7 by %7 act sigmoid : tensor<?x128xf32>\n        %8 = lm.rope",
             "blk.1 has a lm.gate, which the format does not know")):
        assert program.find(old, where) >= 0, old
        text = program[:where] + program[where:].replace(old, new, 1)
        if not new:
            text = text.replace(f"lm.norm {last}, @output_norm", "lm.norm %token_embd, @output_norm")
        (folder / "program.mlir").write_text(text)
        rehashed(folder)
        refused(UNSUPPORTED, words, work / "export-out", folder)
    sinks = work / "sinks"
    sinks.mkdir()
    make_models.make("granite_swa", sinks)
    make_sparse_model.write_tokenizer(sinks, make_models.VOCAB)
    run("compile", sinks, "--recipe", "none", "--target", tiny.HOST_TARGET, "-q", "-o", work / "sinks.retort")
    refused(UNSUPPORTED, "it has attention sinks, which export does not write", work / "export-out", work / "sinks.retort")


def check_refusals(work, bundle):
    out = work / "export-out"
    refused(IO, "No such file", out, work / "none.retort")
    refused(BAD_INPUT, "", out, work / "hf" / "config.json")
    for keep, passes, words in (
            ("widths", f"prune-ffn{{keep=0.5 multiple=16 stats={work / 'stats.json'}}}", "FFN channels"),
            ("heads", f"prune-heads{{blocks=2 keep=1 stats={work / 'stats.json'}}}", "heads, and the format has room for one number"),
            ("attention", f"prune-attention{{count=1 stats={work / 'stats.json'}}}", "0 attentions")):
        run("compile", work / "hf", "--passes", f"builtin.module({passes})", "--target", tiny.HOST_TARGET, "-q", "-o",
            work / f"{keep}.retort")
        for format in ("gguf", "safetensors"):
            refused(UNSUPPORTED, words, out, work / f"{keep}.retort", "--format", format)
    other = work / "other"
    other.mkdir()
    make_models.make("ernie4_5", other)
    make_sparse_model.write_tokenizer(other, make_models.VOCAB)
    run("compile", other, "--recipe", "none", "--target", tiny.HOST_TARGET, "-q", "-o", work / "other.retort")
    refused(UNSUPPORTED, "its family is ernie4_5, and export writes", out, work / "other.retort")
    words = work / "words"
    words.mkdir()
    for file in (work / "hf").iterdir():
        (words / file.name).write_bytes(file.read_bytes())
    unigram = tokenizers.Tokenizer(tokenizers.models.Unigram(
        [("<unk>", 0.0)] + [(letter, -1 - i / 8) for i, letter in enumerate("\u2581abcdefghijklmnop")], unk_id=0))
    unigram.pre_tokenizer, unigram.decoder = tokenizers.pre_tokenizers.Metaspace(), tokenizers.decoders.Metaspace()
    unigram.save(str(words / "tokenizer.json"))
    (words / "tokenizer_config.json").write_text('{"eos_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}')
    run("compile", words, "--recipe", "none", "--target", tiny.HOST_TARGET, "-q", "-o", work / "words.retort")
    refused(UNSUPPORTED, "export to GGUF writes byte-level tokenizers", out, work / "words.retort")
    run("export", work / "words.retort", "--format", "safetensors", "-o", work / "words-hf")
    pieces = transformers.AutoTokenizer.from_pretrained(str(work / "words-hf"))
    assert pieces.encode("abba deaf") == unigram.encode("abba deaf").ids
    cut = work / "cut.retort"
    run("compile", work / "hf", "--recipe", "int4", "--target", "cuda:sm_80", "--devices", "2", "-q", "-o", cut, CUDACXX=FAKE_NVCC)
    refused(UNSUPPORTED, "cut over GPUs", out, cut)
    one = work / "one.retort"
    run("compile", work / "hf", "--recipe", "int4", "--target", "cuda:sm_80", "-q", "-o", one, CUDACXX=FAKE_NVCC)
    run("compile", work / "hf", "--recipe", "int4", "--target", tiny.HOST_TARGET, "-q", "-o", work / "cpu.retort")
    for name in ("one", "cpu"):
        run("export", work / f"{name}.retort", "--type", "f32", "-o", work / f"{name}.gguf")
    names = [{t.name: np.array(t.data) for t in gguf.GGUFReader(work / f"{n}.gguf").tensors} for n in ("one", "cpu")]
    assert names[0].keys() == names[1].keys() and all(np.array_equal(names[0][k], names[1][k]) for k in names[0]), \
        "weights packed for a GPU and for a CPU mean other numbers"
    check_lies(work)
    check_programs(work)
    damaged = bytearray(bundle.read_bytes())
    damaged[8192] ^= 1
    (work / "damaged.retort").write_bytes(damaged)
    refused(BAD_INPUT, "", out, work / "damaged.retort")
    beyond = work / "beyond"
    beyond.mkdir()
    for file in (work / "hf").iterdir():
        (beyond / file.name).write_bytes(file.read_bytes())
    from safetensors.numpy import load_file, save_file
    tensors = load_file(str(beyond / "model.safetensors"))
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(tensors, str(beyond / "model.safetensors"))
    run("compile", beyond, "--passes", "builtin.module(prune-depth{drop=1})", "--target", tiny.HOST_TARGET, "-q", "-o",
        work / "beyond.retort")
    refused(BAD_INPUT, "65504", out, work / "beyond.retort")
    run("export", work / "beyond.retort", "--type", "bf16", "-o", work / "beyond.gguf")
    assert "is read by this command" in run("export", bundle, "-o", bundle, "--force", code=USAGE)


def main():
    transformers.logging.set_verbosity_error()
    for name in MODELS:
        with tempfile.TemporaryDirectory(prefix="retort-test-") as folder:
            check_family(name, pathlib.Path(folder))
    with tempfile.TemporaryDirectory(prefix="retort-test-") as folder:
        work = pathlib.Path(folder)
        tiny.write_all(work)
        check_refusals(work, check_types(work))


if __name__ == "__main__":
    main()
