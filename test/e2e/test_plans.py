#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a recipe assumes of a teacher or a corpus is found while it is planned.

    test_plans.py RETORT [--only NAME] [--recipe NAME] [--all]

Tiny random models of odd shapes go through every recipe. Each is compiled, or refused in one line with the
same code and words as --dry-run refuses it, before any work on data begins: never in its middle. Without --all,
recipes that only round meet the models whose widths and heads are odd, and no others.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from test_resume import small_recipe

failures = 0
# Stages that read what was given; any other one works on it.
READING = ("read the corpus",)
REFUSALS = (2, 3, 4, 5)


def expect(condition, message):
    global failures
    if not condition:
        failures += 1
        print("FAILED: " + message, flush=True)


def model(folder, dtype="F32", **changes):
    """A model of Llama's kind, or of one alike, with random weights and tiny.py's tokenizer."""
    config = tiny.CONFIG | {"num_hidden_layers": 2} | changes
    hidden, ffn, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    query = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    shapes = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for block in range(config["num_hidden_layers"]):
        at = f"model.layers.{block}."
        shapes |= {at + "input_layernorm.weight": (hidden,), at + "post_attention_layernorm.weight": (hidden,),
                   at + "self_attn.q_proj.weight": (query, hidden), at + "self_attn.k_proj.weight": (keys, hidden),
                   at + "self_attn.v_proj.weight": (keys, hidden), at + "self_attn.o_proj.weight": (hidden, query),
                   at + "mlp.gate_proj.weight": (ffn, hidden), at + "mlp.up_proj.weight": (ffn, hidden),
                   at + "mlp.down_proj.weight": (hidden, ffn)}
        if config["model_type"] == "qwen2":
            shapes |= {at + f"self_attn.{p}_proj.bias": (query if p == "q" else keys,) for p in "qkv"}
        if config["model_type"] == "qwen3":
            shapes |= {at + f"self_attn.{p}_norm.weight": (config["head_dim"],) for p in "qk"}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocab, hidden)
    rng = np.random.default_rng(0)
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, shape in shapes.items():
        values = (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
        if len(shape) == 1 and not name.endswith("bias"):
            values = 1 + values
        raw = {"F32": lambda: values.tobytes(), "F16": lambda: values.astype(np.float16).tobytes(),
               "BF16": lambda: (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()}[dtype]()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
         "add_bos_token": False}))
    tiny.write_tokenizer(folder / "tokenizer.json")


QWEN = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
QWEN3 = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}
MODELS = {
    # Widths that groups of 32, 64 and 128 do not divide, and that are odd.
    "hidden48": dict(hidden_size=48, head_dim=16, intermediate_size=80),
    "hidden40": dict(hidden_size=40, head_dim=16, num_attention_heads=3, num_key_value_heads=1, intermediate_size=72),
    "odd": dict(hidden_size=36, head_dim=16, num_attention_heads=1, num_key_value_heads=1, intermediate_size=33),
    "narrow": dict(hidden_size=64, head_dim=16, intermediate_size=32),
    # Heads.
    "head8": dict(head_dim=8), "head24": dict(head_dim=24), "head512": dict(head_dim=512),
    "one head": dict(num_attention_heads=1, num_key_value_heads=1, head_dim=64),
    "many heads": dict(num_attention_heads=14, num_key_value_heads=2, head_dim=16),
    # Contexts shorter than training's and scoring's windows.
    "context1": dict(max_position_embeddings=1), "context2": dict(max_position_embeddings=2),
    "context24": dict(max_position_embeddings=24), "context300": dict(max_position_embeddings=300),
    # Blocks, vocabularies, ties, types.
    "one block": dict(num_hidden_layers=1),
    "padded": dict(vocab_size=512, tie_word_embeddings=False), "untied": dict(tie_word_embeddings=False),
    "f16": dict(dtype="F16"), "bf16": dict(dtype="BF16", tie_word_embeddings=False),
    "qwen2": dict(**QWEN), "qwen3": dict(**QWEN3, tie_word_embeddings=False, head_dim=16),
    "window": dict(**QWEN, use_sliding_window=True, sliding_window=8, max_window_layers=1),
}
ROUNDED = ("hidden48", "hidden40", "odd", "narrow", "head8", "head24", "head512", "context1", "padded")
OBSERVED = "insert-observation{statistics=attention_influence tokens=600},run-data-work,"
# Pipelines whose passes assume something of what is before them.
PIPELINES = {
    "attention gone": OBSERVED + "derive-student,prune-attention{model=student count=1},insert-fit{tokens=1000},run-data-work,apply-training",
    "attention gone, rounded": OBSERVED + "derive-student,prune-attention{model=student count=1},insert-fit{tokens=1000 format=i4g32s},"
                               "run-data-work,apply-training,quantize-weights{model=student format=i4g32s}",
    "teacher smaller": OBSERVED + "derive-student,prune-attention{model=teacher count=1},insert-fit{tokens=1000},run-data-work,apply-training",
    "teacher without the block": "derive-student,prune-depth{model=teacher drop=0},insert-fit{tokens=1000},run-data-work,apply-training",
    "another vocabulary": "insert-observation{statistics=vocabulary},run-data-work,derive-student,"
                          "prune-vocabulary{model=teacher max-tokens=300},insert-distillation{tokens=1000},run-data-work,apply-training",
    "nothing shared": "derive-student,prune-depth{model=teacher drop=1},prune-depth{model=student drop=0},"
                      "insert-distillation{tokens=1000 hidden-weight=1},run-data-work,apply-training",
    "no temperature": "derive-student,insert-distillation{tokens=1000 temperature=0},run-data-work,apply-training",
    "long sequences": "insert-tuning{tokens=4000 sequence-length=5000 batch-tokens=512},run-data-work,apply-training{model=teacher}",
    "more than there is": "insert-tuning{tokens=100 batch-tokens=64},insert-score{tokens=100000000},run-data-work,apply-training{model=teacher}",
}


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        tiny.write_all(work)
        small_recipe(argparse.Namespace(retort=options.retort, tokens=600), work)
        quantize = self.run("compile", work / "hf", "--recipe", "quantize", "--corpus", work / "corpus", "--print-pipeline",
                            "--set", "observe-tokens=600", "--set", "heal-tokens=600", "--set", "score-tokens=600").stdout
        (work / "quantize.pipeline").write_text(quantize)
        self.recipes = {"none": "none", "int8": "int8", "int4": "int4", "fp8": "fp8",
                        "quantize": work / "quantize.pipeline", "specialist": work / "small.pipeline"}
        self.refused = 0

    def run(self, *arguments):
        return subprocess.run([self.options.retort, *map(str, arguments)], capture_output=True, text=True,
                              errors="replace", timeout=600)

    def judge(self, what, teacher, *arguments, corpus="corpus"):
        """Compiled, or refused alike by the plan and the compile."""
        command = ["compile", teacher, "--corpus", self.work / corpus, "--small-corpus", "--workspace",
                   self.work / "workspace", "--threads", 1, "--target", tiny.HOST_TARGET, *arguments]
        out = self.work / "out.retort"
        plan, done = self.run(*command, "--dry-run"), self.run(*command, "-o", out, "--force")
        lines = [l for l in done.stderr.splitlines() if l.startswith("retort: ") and not l.startswith("retort: note:")]
        if done.returncode == 0:
            expect(out.exists() and plan.returncode == 0, f"{what}: compiled, but the plan says {plan.stderr[-300:]!r}")
            out.unlink(missing_ok=True)
            print(f"{what}: compiled", flush=True)
            return
        self.refused += 1
        print(f"{what}: {lines}", flush=True)
        expect(done.returncode in REFUSALS and len(lines) == 1 and not out.exists(),
               f"{what}: exit code {done.returncode}: {done.stderr[-500:]!r}")
        expect(plan.returncode == done.returncode and plan.stderr.splitlines()[-1:] == lines,
               f"{what}: the plan: {plan.returncode} {plan.stderr[-300:]!r}; the compile: {lines}")
        stages = [stage for stage in re.findall(r"^(.*\S) +\.\.\.$", done.stderr, re.MULTILINE) if stage not in READING]
        expect(not stages, f"{what}: refused in the middle: {stages}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("retort")
    parser.add_argument("--only", default="")
    parser.add_argument("--recipe", default="")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retort-plans-") as folder:
        b = Bench(options, pathlib.Path(folder))
        for name, shape in MODELS.items():
            if options.only not in name:
                continue
            teacher = b.work / "model"
            model(teacher, **shape)
            for recipe, text in b.recipes.items():
                if options.recipe in recipe and (options.all or name in ROUNDED or recipe == "specialist"):
                    b.judge(f"{name}, {recipe}", teacher, "--recipe", text)
        for name, passes in PIPELINES.items():
            if options.only in name and not options.recipe:
                b.judge(name, b.work / "hf", "--passes", f"builtin.module({passes})")
        # Corpora of which nothing is held out, or nothing is left to train on.
        for pages in (1, 3):
            if not options.only and not options.recipe:
                tiny.write_corpus(b.work / f"corpus{pages}", pages)
                b.judge(f"{pages} documents", b.work / "hf", "--recipe", b.recipes["specialist"], corpus=f"corpus{pages}")
        expect(options.only or options.recipe or b.refused >= 5, "hardly anything was refused: the models are not odd")
    print(f"{failures} failures")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
