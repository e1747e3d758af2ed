# Formats of caches and weights, from the command line to logits. SPDX-License-Identifier: Apache-2.0
"""test_formats.py RETORT LIBRETORT EXECUTOR_TOOL LIBRETORT_TORCH

1. The executor rounds keys and values as torch's own casts do: logits of each cache format against
   transformers with a cache that rounds.
2. `compile --cache FORMAT` for a CPU and a simulated card: what the bundle says it keeps and how many bytes
   that takes, and its logits against the executor's.
3. What is no format, or cannot be varied, is refused in one line.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_models
import tiny
from bundles import Session, executor_logits, retort

RETORT, LIBRARY, TOOL, TORCH = sys.argv[1:]
USAGE = 2
CACHES = {"f16": torch.float16, "bf16": torch.bfloat16, "f8e4m3": torch.float8_e4m3fn}


def rounded(values, dtype):
    """As a cache holds them: fp8 saturates, as vLLM's does."""
    limit = torch.finfo(dtype).max
    return values.clamp(-limit, limit).to(dtype).to(values.dtype)


def close(what, ours, theirs, without=None):
    """Most logits agree to 1e-3. A key that lies between two codes may be rounded either way, which few logits
    see. `without`: logits of what should make a difference, left out."""
    difference = np.abs(ours - theirs)
    most, usual = float(difference.max()), float(np.quantile(difference, 0.9))
    median = float(np.median(difference))
    effect = float(np.median(np.abs(ours - without))) if without is not None else np.inf
    print(f"{what}: largest difference {most:.1e}, 90 % below {usual:.1e}, half below {median:.1e}; "
          f"with what was not rounded half above {effect:.1e}", flush=True)
    assert usual <= 1e-3 and most <= 0.3, f"{what} differs"
    assert effect > 3 * median, f"{what} has no effect"


def check_executor(folder):
    from transformers import DynamicCache

    for name in ("llama", "qwen3", "gemma2"):
        model = make_models.make(name, folder / name)
        tokens = np.random.default_rng(3).integers(3, model.config.vocab_size, 90).tolist()

        def theirs(dtype=None):
            class RoundingCache(DynamicCache):
                def update(self, key_states, value_states, *args, **kwargs):
                    return super().update(rounded(key_states, dtype), rounded(value_states, dtype), *args, **kwargs)

            cache = RoundingCache(config=model.config) if dtype else None
            with torch.no_grad():
                return model(torch.tensor([tokens]), past_key_values=cache).logits[0].numpy()

        exact = theirs()
        for cache, dtype in CACHES.items():
            pipeline = f"builtin.module(cache-format{{format={cache}}})"
            ours = executor_logits(TOOL, TORCH, folder / name, [tokens], model.config.vocab_size, folder, pipeline)
            close(f"executor, {name}, cache {cache}", ours[0], theirs(dtype), exact)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def run_steps(bundle, device, tokens):
    """Prefill of most tokens, then single rows."""
    with Session(LIBRARY, bundle, device, context=128) as session:
        sizes = [len(tokens) - 3, 2, 1]
        parts, begin = [], 0
        for size in sizes:
            parts.append(session.step([(token, 0) for token in tokens[begin:begin + size]]))
            begin += size
        return np.concatenate(parts), session.manifest


def check_bundles(folder):
    teacher = folder / "tiny/teacher.gguf"
    tokens = np.random.default_rng(4).integers(3, tiny.VOCAB, 43).tolist()
    position = 2 * tiny.BLOCKS * tiny.KV_HEADS * tiny.HEAD_DIM  # values
    for cache, bytes_each in {"f16": 2, "bf16": 2, "f8e4m3": 1}.items():
        bundle = folder / f"{cache}.retort"
        retort(RETORT, "compile", teacher, "--recipe", "none", "--cache", cache, "--target", "cpu,cuda:sm_80",
               "--form", "graph", "-q", "-o", bundle)
        pipeline = f"builtin.module(cache-format{{format={cache}}})"
        theirs = executor_logits(TOOL, TORCH, teacher, [tokens], tiny.VOCAB, folder, pipeline)[0]
        unrounded = executor_logits(TOOL, TORCH, teacher, [tokens], tiny.VOCAB, folder)[0]
        for device in ("cpu", "sim"):
            ours, manifest = run_steps(bundle, device, tokens)
            # Errors of f16 activations make some keys the next code, and codes of fp8 are 6 % apart.
            limit = 2e-2 if device == "sim" and cache == "f8e4m3" else 5e-3 if device == "sim" else 1e-4
            mean, effect = rms(ours - theirs) / rms(theirs), rms(ours - unrounded) / rms(theirs)
            print(f"{device}, cache {cache}: {mean:.1e} from the executor, {effect:.1e} from one that rounds no "
                  "keys and values", flush=True)
            assert mean <= limit, f"{device}, cache {cache} differs"
            assert effect > (2 * mean if device == "cpu" or cache == "f8e4m3" else 0), f"{device} rounds nothing"
        kept = manifest["cache"]
        assert kept["format"] == cache and kept["page_bytes"] == kept["page_rows"] * position * bytes_each, kept
        shown = subprocess.run([RETORT, "inspect", bundle], check=True, capture_output=True, text=True).stdout
        assert f"of keys and values a position, {cache}" in shown, shown


def refused(words, *arguments):
    done = retort(RETORT, "compile", *arguments, check=False)
    line = done.stderr.strip()
    print(f"refused: {line}", flush=True)
    assert done.returncode == USAGE and "\n" not in line, (done.returncode, line)
    assert all(word in line for word in words), (words, line)


def check_refusals(folder):
    teacher = folder / "tiny/teacher.gguf"
    out = ("-o", folder / "x.retort", "-q")
    refused(["f16, bf16, f8e4m3 or f32", "did you mean 'f8e4m3'"], teacher, "--cache", "f8e4m", *out)
    refused(["--passes", "cache-format{format=bf16}"], teacher, "--cache", "bf16", "--passes", "builtin.module()", *out)
    (folder / "mine").write_text("builtin.module()")
    refused(["mine", "cache-format{format=bf16}"], teacher, "--cache", "bf16", "--recipe", folder / "mine", *out)
    assert not (folder / "x.retort").exists()
    for recipe, cache in (("none", []), ("int8", ["f16"]), ("specialist", ["f16"])):
        for given, expected in (([], cache), (["--cache", "f8e4m3"], ["f8e4m3"])):
            text = retort(RETORT, "compile", teacher, "--recipe", recipe, *given, "--print-pipeline",
                          "--corpus", folder / "tiny/corpus").stdout
            formats = [part.split("}")[0].split("format=")[1].split()[0] for part in text.split("cache-format{")[1:]]
            assert formats == expected, (recipe, given, text)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tiny.write_all(folder / "tiny")
        check_refusals(folder)
        check_executor(folder)
        check_bundles(folder)


main()
