# Random small models whose layers all differ, on the simulated GPU or the CPU, against the executor.
# SPDX-License-Identifier: Apache-2.0
"""test_cuda_random.py RETORT LIBRETORT EXECUTOR_TOOL LIBRETORT_TORCH [--seeds N [N]] [--first SEED]
                    [--device cuda --target cuda:sm_90] [--device cpu --target cpu] [--devices 2]

For each seed a model that transformers makes, of the families in turn, with random width, head size and count, biases, windows, soft caps and vocabulary; then pruned so that every block
has its own heads and FFN width or is gone, and every matrix its own format and group. Compiled in a random
form and run with the simulator's checks on: prefill and decoding, three slots mixed. All logits are
compared with the executor's on the same quantised weights. A failure prints the seed and the
pipeline, and goes on to the next. With --devices 2 the same of models cut over two devices, with peer access or
without; one that cannot be cut says why and does not count.
"""
import argparse
import json
import math
import os
import pathlib
import random
import sys
import tempfile

import numpy as np

os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_models
import make_sparse_model
import tiny
from bundles import Session, Sim, Timer, executor_logits, retort
from thorough import often

# Of differences' root mean square to the logits', or to 1, and a tenth of the largest's: activations
# are f16, and the attention of random models is sharp, which makes much of their rounding. That rounding
# makes some keys and values the next code of an fp8 cache, and those are 6 % apart.
LIMIT, FP8_CACHE_LIMIT = 5e-3, 4e-2
CLASSES = {"llama": "LlamaConfig", "qwen3": "Qwen3Config", "gemma2": "Gemma2Config",
           "gemma3": "Gemma3TextConfig", "mistral": "MistralConfig", "qwen2": "Qwen2Config",
           "phi3": "Phi3Config", "smollm3": "SmolLM3Config", "granite": "GraniteConfig",
           "olmo2": "Olmo2Config", "olmo3": "Olmo3Config", "glm4": "Glm4Config",
           "ernie4_5": "Ernie4_5Config", "seed_oss": "SeedOssConfig", "exaone4": "Exaone4Config",
           "cohere2": "Cohere2Config", "gemma": "GemmaConfig", "stablelm": "StableLmConfig",
           "ministral3": "Ministral3Config", "hunyuan": "HunYuanDenseV1Config",
           "granite_swa": "GraniteSWAConfig", "muse_glimmer": "MuseGlimmerConfig",
           "gemma4": "Gemma4TextConfig"}
FAMILIES = list(CLASSES)


def configuration(family, rng):
    """Arguments of the transformers configuration."""
    layers = {"gemma3": 3, "gemma2": 3, "gemma4": 3}.get(family, rng.choice([2, 3]))
    kv_heads = rng.choice([1, 2, 3, 4])
    heads = kv_heads * rng.choice([1, 2, 3, 4, 7])
    # Gemma's configuration wants whole multiples of the heads, though its head size is its own.
    step = math.lcm(heads, 16)
    config = make_models.base(
        vocab_size=rng.randrange(260, 400),
        hidden_size=step * rng.randint(-(-48 // step), max(-(-48 // step), 192 // step)),
        intermediate_size=rng.choice([96, 112, 128, 160, 224]),
        num_hidden_layers=layers,
        num_key_value_heads=kv_heads,
        num_attention_heads=heads,
        head_dim=rng.choice([64, 128, 16, 48, 80, 112]),
        tie_word_embeddings=family.startswith("gemma") or rng.random() < 0.5,
    )
    if family in ("qwen2", "phi3", "cohere2", "stablelm", "granite_swa"):  # head size is hidden_size / heads
        config["hidden_size"] = heads * rng.choice([16, 32, 64] if heads < 8 else [16, 32])
        del config["head_dim"]
    if family == "llama":
        config |= {"attention_bias": rng.random() < 0.5, "rms_norm_eps": 1e-5,
                   "rope_parameters": rng.choice([make_models.rope(), make_models.LLAMA3,
                                                  make_models.YARN])}
    if family in ("mistral", "gemma2", "gemma3", "phi3", "olmo3", "exaone4", "cohere2", "granite_swa",
                  "muse_glimmer", "gemma4"):
        config["sliding_window"] = rng.choice([3, 8, 17, 33])
    if family in ("olmo3", "exaone4", "cohere2", "granite_swa", "muse_glimmer"):
        config["layer_types"] = ["sliding_attention", "full_attention", "sliding_attention"][:layers]
    if family == "gemma4":
        config |= {"layer_types": ["full_attention", "sliding_attention", "full_attention"],
                   "global_head_dim": 2 * config["head_dim"], "hidden_size_per_layer_input": 0,
                   "attention_k_eq_v": rng.random() < 0.5}
    if family == "smollm3":
        config["no_rope_layer_interval"] = 2
    if family == "granite_swa":
        config["layer_rope_theta"] = [10000.0, rng.choice([0, 10000.0]), 50000.0][:layers]
    if family == "muse_glimmer":
        config["layer_rope_theta"] = [10000.0, 0, 10000.0][:layers]
    if family.startswith("granite"):
        config |= {"embedding_multiplier": 12.0, "residual_multiplier": 0.25,
                   "attention_multiplier": 0.0625, "logits_scaling": 4.0}
    if family in ("granite", "seed_oss", "ernie4_5", "glm4"):
        name = "use_bias" if family == "ernie4_5" else "attention_bias"
        config[name] = rng.random() < 0.5
    if family == "cohere2":
        config["logit_scale"] = 0.25
    if family == "phi3":
        half = config["hidden_size"] // config["num_attention_heads"] // 2
        factors = [1.0 + i / 4 for i in range(half)]
        config |= {"rope_parameters": make_models.rope(
            rope_type="longrope", short_factor=factors, long_factor=factors),
            "original_max_position_embeddings": 64}
    if family == "ministral3":
        config["rope_parameters"] = make_models.MINISTRAL3
    if family == "hunyuan":
        config["rope_parameters"] = make_models.rope(
            rope_type="dynamic", factor=1.0, alpha=rng.choice([8.0, 1000.0]))
    if family in ("gemma2", "gemma3"):
        config["query_pre_attn_scalar"] = rng.choice([16, 24, 64])
    if family == "gemma2":
        config |= {"attn_logit_softcapping": rng.choice([5.0, 20.0]),
                   "final_logit_softcapping": rng.choice([3.0, 10.0])}
    if family == "gemma3":
        config["rope_parameters"] = make_models.GEMMA3_ROPES
    return config


def formats(family, config, blocks, rng):
    """Passes that give each matrix a format of its own; what none names stays f32."""
    passes = []
    names = [f"blk.{block}.{part}.weight" for block in blocks
             for part in ("attn_q", "attn_k", "attn_v", "attn_gate", "attn_output", "ffn_gate", "ffn_up",
                          "ffn_down")
             if part != "attn_gate" or family == "muse_glimmer"]
    joint = {"attn_k": "attn_q", "attn_v": "attn_q", "attn_gate": "attn_q", "ffn_up": "ffn_gate"}  # mostly: then they are fused
    chosen = {}
    for name in [*names, "token_embd.weight", "output.weight"]:
        prefix, _, part = name.removesuffix(".weight").rpartition(".")
        like = f"{prefix}.{joint.get(part)}"
        # CPU kernels round activations to int8 before integer weights, which no limit here allows.
        kinds = ["cast", "f32"] if options.target == "cpu" else ["4s", "4a", "3s", "8s", "8e", "cast", "f32"]
        own = rng.choice(kinds), rng.choice([32, 64, 128])
        chosen[f"{prefix}.{part}"] = kind, group = \
            chosen[like] if like in chosen and rng.random() < 0.7 else own
        if kind == "cast" and name != "output.weight":
            continue  # cast-weights at the end takes what is left, unless it is f32
        if kind[0] in "348":
            if kind == "3s":
                group = 64  # has no other
            codes, suffix = {"3s": ("i3", "s"), "4s": ("i4", "s"), "4a": ("i4", "a"), "8s": ("i8", ""), "8e": ("f8", "")}[kind]
            passes.append(f"quantize-weights{{only={name} format={codes}g{group}{suffix}}}")
    if rng.random() < 0.8:
        passes.append(f"cast-weights{{type={rng.choice(['bf16', 'f16'])}}}")
    return passes


def recipe(family, config, folder, rng):
    """A pipeline that makes the blocks differ, and what it did, for people."""
    layers, kv_heads = config["num_hidden_layers"], config["num_key_value_heads"]
    stats = {"format": "retort-stats-1", "tokens": 100, "blocks": {
        f"blk.{i}": {"influence": rng.random(), "heads": [rng.random() for _ in range(kv_heads)],
                     "ffn": [rng.random() ** rng.choice([1, 4])
                             for _ in range(config["intermediate_size"])]}
        for i in range(layers)}}
    path = folder / "stats.json"
    path.write_text(json.dumps(stats))
    passes = []
    for block in range(layers):
        keep = rng.randint(min(options.devices, kv_heads), kv_heads)  # a device needs one
        # OLMo's norms run over all heads together, so none of them can go.
        if keep < kv_heads and not family.startswith("olmo"):
            passes.append(f"prune-heads{{blocks={block} keep={keep} stats={path}}}")
    if rng.random() < 0.8:
        passes.append(f"prune-ffn{{keep={rng.choice([0.4, 0.6, 0.8])} multiple={rng.choice([16, 32])} "
                      f"stats={path}}}")
    dropped = rng.randrange(layers) if layers > 2 and rng.random() < 0.5 else None
    if dropped is not None:
        passes.append(f"prune-depth{{drop={dropped}}}")
    passes += formats(family, config, [b for b in range(layers) if b != dropped], rng)
    if rng.random() < 0.8:
        passes.append(f"cache-format{{format={rng.choice(['f16', 'bf16', 'f8e4m3'])}}}")
    if rng.random() < 0.3:  # and one block another
        block = rng.choice([b for b in range(layers) if b != dropped])
        passes.append(f"cache-format{{format={rng.choice(['f16', 'bf16', 'f8e4m3'])} only=blk.{block}}}")
    return f"builtin.module({','.join(passes)})"


def drive(bundle, rng):
    """Steps of all sizes over three slots. The slots' tokens, and their logits in order."""
    tokens, logits = [[], [], []], [[], [], []]
    device = f"sim:{options.devices}" if options.device == "sim" and options.devices > 1 else options.device
    with Session(LIBRARY, bundle, device, slots=3) as session:
        sizes = [rng.randrange(17, 50), 1, rng.randrange(2, 9),
                 rng.randrange(17, 60 if options.target == "cpu" else 80),
                 rng.randrange(9, 17), 1, 2, rng.randrange(3, 17)]
        for number, size in enumerate(sizes):
            slots = [0] if number == 0 else [rng.randrange(3) for _ in range(size)]
            rows = [(rng.randrange(session.vocab), slots[i % len(slots)]) for i in range(size)]
            for (token, slot), row in zip(rows, session.step(rows)):
                tokens[slot].append(token)
                logits[slot].append(row)
        shape = session.manifest["model"]
    return tokens, np.concatenate([np.array(rows) for rows in logits if rows]), shape


def check(seed, sim, folder):
    rng = random.Random(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    config = configuration(family, rng)
    model = folder / "model"
    model.mkdir()
    arguments = make_models.muse_glimmer(config) if family == "muse_glimmer" else config
    make_models.MODELS[f"{family}-random"] = (CLASSES[family], arguments)
    make_models.make(f"{family}-random", model, seed=seed)
    make_sparse_model.write_tokenizer(model, config["vocab_size"])
    pipeline = recipe(family, config, folder, rng)
    form = rng.choice(["persistent", "graph"])
    shape = (f"{family}, hidden {config['hidden_size']}, {config['num_attention_heads']} heads of "
             f"{config.get('head_dim', '?')}, {config['num_key_value_heads']} for keys, ffn "
             f"{config['intermediate_size']}, vocabulary {config['vocab_size']}, {form}")
    print(f"seed {seed}: {shape}", flush=True)
    try:
        bundle = folder / "random.retort"
        gpu = [] if options.target == "cpu" else ["--form", form, "--devices", options.devices]
        done = retort(RETORT, "compile", model, "--passes", pipeline, "--target",
                      tiny.HOST_TARGET if options.target == "cpu" else options.target,
                      *gpu, "-q", "-o", bundle, check=False, fake_nvcc=sim is not None)
        if options.devices > 1 and "partition: " in done.stderr:
            print(f"  {done.stderr.strip()}", flush=True)
            return None
        assert done.returncode == 0, done.stderr
        if sim:
            sim.set(seed=seed, peers=rng.randrange(2))
        with Timer("compiled for the host, and run" if sim else "run"):
            tokens, ours, _ = drive(bundle, rng)
        findings = sim.report()["findings"] if sim else []
        if sim:
            sim.clear()
        theirs = np.concatenate(executor_logits(TOOL, TORCH, model, [t for t in tokens if t],
                                                config["vocab_size"], folder, pipeline))
        scale = max(1.0, float(np.sqrt(np.mean(theirs**2))))
        difference = np.abs(ours - theirs)
        worst, mean = float(difference.max()), float(np.sqrt(np.mean(difference**2)))
        print(f"  {len(ours)} rows: largest difference {worst:.2e} in row "
              f"{difference.max(1).argmax()}, root mean square {mean:.2e}, of the logits {scale:.1f}",
              flush=True)
        assert not findings, findings[:2]
        limit = scale * (FP8_CACHE_LIMIT if "format=f8e4m3" in pipeline else LIMIT)
        assert mean <= limit and worst <= 10 * limit, f"differs by {worst}, mean {mean}"
        return True
    except AssertionError as error:
        print(f"seed {seed} FAILED: {error}\n  {shape}\n  {pipeline}", flush=True)
        return False


def main():
    sim = Sim(LIBRARY) if options.device.startswith("sim") else None
    if sim:
        sim.set(check=1, devices=options.devices)
    failed, seed, counted = [], options.first, 0
    while counted < options.seeds:
        with tempfile.TemporaryDirectory() as name:
            passed = check(seed, sim, pathlib.Path(name))
        counted += passed is not None
        if passed is False:
            failed.append(seed)
        seed += options.every
        assert seed - options.first <= 10 * options.seeds * options.every, "hardly a model could be cut"
    if failed:
        sys.exit(f"seeds {failed} failed")


parser = argparse.ArgumentParser(description=__doc__)
for name in ("retort", "libretort", "executor_tool", "libretort_torch"):
    parser.add_argument(name)
parser.add_argument("--seeds", type=int, nargs="+", default=[6], help="how many; a second number is for thorough tests")
parser.add_argument("--first", type=int, default=0)
parser.add_argument("--every", type=int, default=1, help="from a seed to the next; families go round with seeds")
parser.add_argument("--device", default="sim", help="as `retort run` takes it; a GPU needs nvcc")
parser.add_argument("--target", default="cuda:sm_80")
parser.add_argument("--devices", type=int, default=1, choices=(1, 2))
options = parser.parse_args()
options.seeds = often(options.seeds[0], options.seeds[-1])
RETORT, LIBRARY, TOOL, TORCH = (options.retort, options.libretort, options.executor_tool,
                                options.libretort_torch)
main()
