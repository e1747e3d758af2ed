# Odd configs against transformers, at random. SPDX-License-Identifier: Apache-2.0
"""test_configs.py EXECUTOR_TOOL LIBRARY [--cases N] [--seed S]

Makes config.json files of every family whose keys are there, absent, null, or of another form that
checkpoints have (scalars, lists, the keys of transformers 4 and 5), gives each random weights of the
shapes that transformers makes of it, and compares logits. Each must be the same as transformers', or
refused by name (exit 3 or 4, one line). What transformers itself refuses must not crash the import.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from make_models import LONG, base
from test_logits import LIMIT, executor_logits, random_sequences, transformers_logits
from thorough import often

ABSENT = object()
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
ROPES = [
    {"rope_type": "linear", "factor": 4.0},
    {"type": "linear", "factor": 2},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 32},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    {"rope_type": "yarn", "factor": 4.0, "attention_factor": 0.75},
    {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": False},
    {"rope_type": "default"},
]  # fmt: skip


def layer_types(count, rng):
    return [rng.choice(["full_attention", "sliding_attention"]) for _ in range(count)]


def common(count):
    """What a key may hold, for all families."""
    with_theta = [{"rope_theta": 20000.0, **rope} for rope in ROPES]
    return {
        "num_key_value_heads": [2, 4, 4, 2, ABSENT],
        "head_dim": [16, 32, ABSENT, None],
        "max_position_embeddings": [256, 64],
        "pad_token_id": [0],
        "rope_theta": [ABSENT, None, 500000, 1e6],
        "rope_scaling": [ABSENT, ABSENT, None, *ROPES],
        "rope_parameters": [ABSENT] * 12 + [None, *with_theta],
        "tie_word_embeddings": [ABSENT, True, False],
        "attention_bias": [ABSENT, True, False],
        "torch_dtype": [ABSENT, None, "bfloat16", "float32"],
        "dtype": [ABSENT, ABSENT, "float16"],
        "hidden_act": ["silu", ABSENT, "gelu", "gelu_pytorch_tanh"],
        "bos_token_id": [1, None, ABSENT],
        "eos_token_id": [2, [2, 3], ABSENT],
        "sliding_window": [ABSENT, None, 8, 1000],
        "layer_types": [ABSENT, ABSENT, None, lambda rng: layer_types(count, rng)],
        "use_cache": [ABSENT, True],
    }


def windows(**more):
    return {
        "use_sliding_window": [ABSENT, True, True, False],
        "max_window_layers": [ABSENT, 0, 2, 28],
        **more,
    }


GROWING = [
    {"rope_type": "yarn", "rope_theta": 1e6, "factor": 8.0, "original_max_position_embeddings": 32,
     "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.3},
    {"type": "yarn", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 16,
     "llama_4_scaling_beta": 0.1},
    {"rope_type": "default", "rope_theta": 1e4, "original_max_position_embeddings": 24,
     "llama_4_scaling_beta": 0.5},
]  # fmt: skip
GEMMA = {
    "hidden_act": [ABSENT, "gelu"],
    "hidden_activation": [ABSENT, "gelu_pytorch_tanh", "silu"],
    "query_pre_attn_scalar": [ABSENT, 16],
    "attn_logit_softcapping": [ABSENT, None, 5.0],
    "final_logit_softcapping": [ABSENT, None, 3.0],
    "sliding_window_pattern": [ABSENT, 2, 3],
    "rms_norm_eps": [ABSENT, 1e-5],
}
GEMMA4_ROPES = [
    {"full_attention": {"rope_type": "proportional", "rope_theta": 1e5, "partial_rotary_factor": 0.5},
     "sliding_attention": {"rope_type": "default", "rope_theta": 3e4}},
    {"full_attention": {"rope_type": "proportional", "rope_theta": 1e5, "factor": 2.0},
     "sliding_attention": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
    {"full_attention": {"rope_type": "default", "rope_theta": 1e5},
     "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}},
]  # fmt: skip
GEMMA4 = {
    "head_dim": [16, 32],
    "global_head_dim": [32, 64],
    "num_global_key_value_heads": [ABSENT, None, 1],
    "attention_k_eq_v": [ABSENT, True, False],
    "num_kv_shared_layers": [ABSENT, 0, 0, 2],
    "use_double_wide_mlp": [ABSENT, True],
    "use_bidirectional_attention": [ABSENT, None, "vision", "all"],
    "rope_theta": [ABSENT],
    "rope_scaling": [ABSENT],
    "rope_parameters": [ABSENT, None, *GEMMA4_ROPES],
    "sliding_window": [8],
    "hidden_activation": [ABSENT, "silu"],
    "final_logit_softcapping": [ABSENT, None, 3.0],
    "per_layer_config": [ABSENT, ABSENT, {"0": {"head_dim": 48}, "3": {"num_key_value_heads": 1}}],
}
FAMILIES = {
    "llama": {"mlp_bias": [ABSENT, True], "rms_norm_eps": [ABSENT, 1e-5]},
    "mistral": {},
    "qwen2": windows(),
    "qwen3": windows(),
    "gemma": {"hidden_act": [ABSENT, "gelu", "gelu_pytorch_tanh"]},
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "gemma4_text": GEMMA4 | {"hidden_size_per_layer_input": [0, 0, 0, ABSENT]},
    "gemma4_unified_text": GEMMA4,
    "stablelm": {"use_qkv_bias": [ABSENT, True], "partial_rotary_factor": [ABSENT, 0.5]},
    "phi3": {"partial_rotary_factor": [ABSENT, ABSENT, 1.0], "head_dim": [ABSENT], "rope_parameters": [ABSENT],
             "rope_scaling": [ABSENT, None, LONG], "original_max_position_embeddings": [256]},
    "smollm3": windows(
        no_rope_layers=[ABSENT, None, [1, 0, 1, 1, 0]], no_rope_layer_interval=[ABSENT, 2]
    ),
    "granite": {"embedding_multiplier": [ABSENT, 2.0], "logits_scaling": [ABSENT, 4],
                "residual_multiplier": [ABSENT, 0.5], "attention_multiplier": [0.1, 0.25]},
    "granite_swa": {"embedding_multiplier": [ABSENT, 2.0], "logits_scaling": [ABSENT, 4],
                    "residual_multiplier": [ABSENT, 0.5], "attention_multiplier": [0.1, 0.25],
                    "layer_rope_theta": [ABSENT, None, [0, 10000.0, 50000, 0, 10000.0]],
                    "sliding_window": [ABSENT, 8], "head_dim": [ABSENT]},
    "ministral3": {"rope_scaling": [ABSENT, ABSENT, None, GROWING[1]], "rope_parameters": [ABSENT, *GROWING],
                   "sliding_window": [ABSENT, None, 8]},
    "hunyuan_v1_dense": {"head_dim": [16, 32], "rope_parameters": [
        ABSENT, {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 1.0, "alpha": 50.0},
        {"type": "dynamic", "rope_theta": 10000.0, "factor": 2.0, "alpha": 8},
        {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}]},
    "olmo2": {},
    "olmo3": {},
    "glm4": {"partial_rotary_factor": [ABSENT, 0.5, 1.0]},
    "ernie4_5": {"use_bias": [ABSENT, True]},
    "seed_oss": {"attention_out_bias": [ABSENT, True]},
    "exaone4": {"sliding_window_pattern": [ABSENT, 2, 3]},
    "cohere2": {"logit_scale": [ABSENT, 0.5], "sliding_window_pattern": [ABSENT, 2, 3],
                "sliding_window": [ABSENT, 8]},
}  # fmt: skip


def config_of(family, rng):
    config = {key: value for key, value in base(num_hidden_layers=5).items() if key in SIZES}
    config["model_type"] = family
    for key, choices in (common(5) | FAMILIES[family]).items():
        value = rng.choice(choices)
        if callable(value):
            value = value(rng)
        if value is not ABSENT:
            config[key] = value
    return config


def reference(config, folder):
    """The model that transformers makes of config.json, with random weights saved beside it; or why
    it makes none."""
    (folder / "config.json").write_text(json.dumps(config))
    try:
        made = transformers.AutoConfig.from_pretrained(str(folder))
        made._attn_implementation = "eager"
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.float32).eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                noise = torch.randn(value.shape) * (0.2 if value.dim() == 1 else 0.15)
                is_gain = key.endswith("norm.weight") and not config["model_type"].startswith(("gemma2", "gemma3"))
                value.copy_(noise + 1 if is_gain else noise)
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        if made.tie_word_embeddings:
            weights.pop("lm_head.weight", None)
        save_file(weights, str(folder / "model.safetensors"))
        # As loading makes it, which also sets what from_config leaves to the file.
        return transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, attn_implementation="eager"
        ).eval()
    except Exception as error:  # any kind: transformers has many
        return f"{type(error).__name__}: {error}".splitlines()[0]


def check(options, config, folder):
    """Nothing if all is well, else what is not."""
    model = reference(config, folder)
    sequences = random_sequences(config["vocab_size"], [[1, 40], [30]], 1)
    theirs = None
    if not isinstance(model, str):
        try:
            theirs = transformers_logits(model, sequences)
        except Exception as error:
            model = f"{type(error).__name__}: {error}".splitlines()[0]
    if not (folder / "model.safetensors").exists():
        return None  # transformers knows no shapes for it, so there is nothing to import
    try:
        ours = executor_logits(
            options.tool, options.library, folder, sequences, config["vocab_size"], folder
        )
    except subprocess.CalledProcessError as error:
        return None if error.returncode in (3, 4) else f"exit {error.returncode}"
    if theirs is None or not torch.isfinite(theirs).all():
        return None
    options.compared += 1
    difference = (ours - theirs).abs().max().item()
    return None if difference <= LIMIT else f"logits differ by {difference:.2e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("library")
    parser.add_argument("--cases", type=int, default=often(6, 12), help="of each family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    failures = 0
    for family in [options.only] if options.only else FAMILIES:
        rng = random.Random(f"{family} {options.seed}")
        options.compared, cases = 0, 0
        while cases < options.cases or options.compared == 0 and cases < 10 * options.cases:
            cases += 1
            config = config_of(family, rng)
            with tempfile.TemporaryDirectory() as name:
                wrong = check(options, config, pathlib.Path(name))
            if wrong:
                failures += 1
                print(f"{family}: {wrong}: {json.dumps(config)}", flush=True)
        print(f"{family}: {options.compared} of {cases} compared", flush=True)
        if options.compared == 0:
            failures += 1
    if failures:
        sys.exit(f"{failures} configs are read otherwise than by transformers")


if __name__ == "__main__":
    main()
