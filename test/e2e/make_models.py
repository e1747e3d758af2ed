# Makes small models with random weights, one for each family that Retort imports, and the same
# models as GGUF files. SPDX-License-Identifier: Apache-2.0
"""make_models.py OUT_DIR [--only NAME] [--no-gguf]

Writes OUT_DIR/NAME/{config.json,model.safetensors} by transformers itself (float32, seeded), and
OUT_DIR/NAME.gguf with the same weights as llama.cpp's converter would write them (query and key
rows of llama permuted, Gemma's norm gains plus one, llama3's rope factors as a tensor).
Other scripts import MODELS, make() and write_gguf().
"""
import argparse
import json
import math
import pathlib

import numpy as np
import torch

VOCAB = 320


def base(**changes):
    return {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        **changes,
    }


def rope(theta=10000.0, **scaling):
    return {"rope_theta": theta, "rope_type": "default", **scaling}


LLAMA3 = rope(
    500000.0,
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
YARN = rope(10000.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
LONG = rope(
    10000.0,
    rope_type="longrope",
    short_factor=[1.0, 1.25, 1.5, 2.0, 2.0, 2.5, 3.0, 4.0],
    long_factor=[1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0],
)
OLMO3_ROPES = {
    "full_attention": rope(
        500000.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=64
    ),
    "sliding_attention": rope(500000.0),
}
# Queries grow within the lengths that tests run.
MINISTRAL3 = rope(
    1000000.0,
    rope_type="yarn",
    factor=8.0,
    original_max_position_embeddings=32,
    beta_fast=32.0,
    beta_slow=1.0,
    mscale=1.0,
    mscale_all_dim=0.5,
    llama_4_scaling_beta=0.5,
)
GEMMA3_ROPES = {
    "full_attention": rope(1000000.0, rope_type="linear", factor=8.0),
    "sliding_attention": rope(10000.0),
}


def muse_glimmer(text):
    """With the smallest tower: transformers has no model of the text alone."""
    return {
        "text_config": text,
        "vision_config": {
            "num_hidden_layers": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "layer_types": ["full_attention"],
        },
        "out_hidden_size": 128,
        "projector_hidden_size": 32,
    }


def gemma4(**changes):
    return base(
        num_hidden_layers=7,
        head_dim=32,
        global_head_dim=64,
        sliding_window=8,
        tie_word_embeddings=True,
        **changes,
    )


def granite_swa(bases):
    return base(
        num_hidden_layers=5,
        sliding_window=8,
        layer_rope_theta=bases,
        residual_multiplier=0.375,
        attention_multiplier=0.25,
        attention_bias=True,
        tie_word_embeddings=True,
    )


# name -> (configuration class, its arguments)
MODELS = {
    "llama": ("LlamaConfig", base(rms_norm_eps=1e-5, tie_word_embeddings=True)),
    "llama_bias": ("LlamaConfig", base(attention_bias=True, mlp_bias=True, head_dim=24)),
    "llama3_rope": ("LlamaConfig", base(rope_parameters=LLAMA3)),
    "yarn": ("LlamaConfig", base(rope_parameters=YARN)),
    "linear_rope": (
        "LlamaConfig",
        base(rope_parameters=rope(10000.0, rope_type="linear", factor=4.0)),
    ),
    "mistral": ("MistralConfig", base(sliding_window=8, head_dim=16)),
    "ministral3": ("Ministral3Config", base(head_dim=32, rope_parameters=MINISTRAL3)),
    "hunyuan": (
        "HunYuanDenseV1Config",
        base(
            head_dim=32,
            attention_bias=True,
            tie_word_embeddings=True,
            rope_parameters=rope(10000.0, rope_type="dynamic", factor=1.0, alpha=50.0),
        ),
    ),
    "qwen2": ("Qwen2Config", base(rope_parameters=rope(1000000.0), tie_word_embeddings=True)),
    "qwen2_window": (
        "Qwen2Config",
        base(use_sliding_window=True, sliding_window=8, max_window_layers=1),
    ),
    "qwen3": ("Qwen3Config", base(head_dim=32, rope_parameters=rope(1000000.0))),
    "stablelm": (
        "StableLmConfig",
        base(
            layer_norm_eps=1e-4,
            use_qkv_bias=True,
            rope_parameters=rope(10000.0, partial_rotary_factor=0.5),
        ),
    ),
    "phi3": ("Phi3Config", base(sliding_window=8)),
    "phi3_long": (
        "Phi3Config",
        base(rope_parameters=LONG, original_max_position_embeddings=32),
    ),
    "phi3_short": (
        "Phi3Config",
        base(rope_parameters=LONG, original_max_position_embeddings=256),
    ),
    "smollm3": ("SmolLM3Config", base(num_hidden_layers=5, attention_bias=True)),
    "granite": (
        "GraniteConfig",
        base(
            embedding_multiplier=12.0,
            residual_multiplier=0.375,
            attention_multiplier=0.125,
            logits_scaling=4.0,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
        ),
    ),
    "granite_swa": ("GraniteSWAConfig", granite_swa([10000.0, 0, 10000.0, 10000.0, 0])),
    "granite_swa_bases": ("GraniteSWAConfig", granite_swa([10000.0, 0, 20000.0, 50000.0, 0])),
    "muse_glimmer": (
        "MuseGlimmerConfig",
        muse_glimmer(base(num_hidden_layers=5, sliding_window=8, head_dim=32)),
    ),
    "olmo2": ("Olmo2Config", base(rms_norm_eps=1e-5)),
    "olmo3": (
        "Olmo3Config",
        base(
            num_hidden_layers=5,
            sliding_window=8,
            rms_norm_eps=1e-5,
            rope_parameters=OLMO3_ROPES,
        ),
    ),
    "glm4": (
        "Glm4Config",
        base(
            head_dim=32,
            rms_norm_eps=1e-5,
            rope_parameters=rope(10000.0, partial_rotary_factor=0.5),
        ),
    ),
    "ernie4_5": (
        "Ernie4_5Config",
        base(head_dim=32, rms_norm_eps=1e-5, use_bias=True, tie_word_embeddings=True),
    ),
    "seed_oss": ("SeedOssConfig", base(head_dim=32, attention_out_bias=True)),
    "exaone4": (
        "Exaone4Config",
        base(num_hidden_layers=5, sliding_window=8, rms_norm_eps=1e-5),
    ),
    "cohere2": (
        "Cohere2Config",
        base(num_hidden_layers=5, sliding_window=8, logit_scale=0.25, tie_word_embeddings=True),
    ),
    "gemma": ("GemmaConfig", base(head_dim=32, hidden_act="gelu", tie_word_embeddings=True)),
    "gemma2": (
        "Gemma2Config",
        base(
            head_dim=32,
            query_pre_attn_scalar=16,
            sliding_window=8,
            num_hidden_layers=4,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=3.0,
            tie_word_embeddings=True,
        ),
    ),
    "gemma3": (
        "Gemma3TextConfig",
        base(
            head_dim=32,
            query_pre_attn_scalar=16,
            sliding_window=8,
            num_hidden_layers=7,
            rope_parameters=GEMMA3_ROPES,
            tie_word_embeddings=True,
        ),
    ),
    "gemma4": (
        "Gemma4TextConfig",
        gemma4(
            hidden_size_per_layer_input=0,
            attention_k_eq_v=True,
            num_global_key_value_heads=1,
            final_logit_softcapping=3.0,
        ),
    ),
    "gemma4_unified": ("Gemma4UnifiedTextConfig", gemma4()),
}


# GGUF's metadata has no windows of some layers for qwen2, and no rotary base of each layer.
WITHOUT_GGUF = ("qwen2_window", "granite_swa_bases")


def has_offset(name, key):
    """Whether the norm's gain is stored as w, meaning 1 + w."""
    is_early = name.startswith("gemma") and not name.startswith("gemma4")
    return is_early or (name.startswith("muse") and key.endswith("layernorm.weight"))


def make(name, directory, seed=0, dtype=torch.float32):
    """Writes the model `name` into `directory` and returns it, in eval mode."""
    import transformers

    transformers.logging.set_verbosity_error()
    class_name, arguments = MODELS[name]
    config = getattr(transformers, class_name)(**arguments)
    config._attn_implementation = "eager"  # the only one with soft caps and windows everywhere
    torch.manual_seed(seed)
    auto = transformers.AutoModelForCausalLM
    if "text_config" in arguments:
        config.text_config._attn_implementation = "eager"
        auto = transformers.AutoModelForImageTextToText
    model = auto.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for key, value in model.named_parameters():
            # Larger than initialisers make them, so that every part of the model matters.
            spread = 0.3 if value.dim() == 1 else 1.5 / math.sqrt(value.shape[-1])
            noise = torch.randn(value.shape) * spread
            is_gain = key.endswith("norm.weight") and not has_offset(name, key)
            value.copy_(noise + 1 if is_gain else noise)
            if class_name.startswith("Gemma4") and key.endswith("q_norm.weight"):
                value /= math.sqrt(value.numel())  # which nothing else divides scores by
        for key, value in model.named_buffers():
            if key.endswith("layer_scalar"):
                value.copy_(0.4 + torch.rand(value.shape))
    model = model.to(dtype).eval()
    model.save_pretrained(directory)
    if class_name == "Gemma4TextConfig":
        publish_wide_heads(pathlib.Path(directory) / "config.json")
    return model


def publish_wide_heads(path):
    """Writes heads of layers without a window as published checkpoints do. transformers saves them
    layer by layer."""
    config = json.loads(path.read_text())
    wide = next(iter(config.pop("per_layer_config").values()))
    config["global_head_dim"] = wide["head_dim"]
    config["num_global_key_value_heads"] = wide.get("num_key_value_heads")
    path.write_text(json.dumps(config))


def permute(weight, heads):
    """Rows of each head from halves to pairs, as llama.cpp's converter stores llama's q and k."""
    shape = weight.shape
    return (
        weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
    )


LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.query_layernorm": "attn_q_norm",
    "self_attn.key_layernorm": "attn_k_norm",
    "self_attn.gate_proj": "attn_gate",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_self_attn_layernorm": "post_attention_norm",
    "post_mlp_layernorm": "post_ffw_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_up_proj": "ffn_up",
}
# Where post_attention_layernorm comes after the attention, or is called so in GGUF files.
NORM_AFTER_ATTENTION = (
    "gemma2", "gemma3", "gemma4", "gemma4_unified", "olmo2", "olmo3", "exaone4", "muse_glimmer",
)  # fmt: skip
ARCHITECTURES = {
    "mistral": "llama",
    "olmo3": "olmo2",
    "ministral3": "mistral3",
    "hunyuan_v1_dense": "hunyuan-dense",
    "muse_glimmer": "muse-glimmer",
    "gemma4_unified": "gemma4",
}
INTERLEAVED = ("llama", "smollm3", "granite", "mistral3", "granite_swa", "muse-glimmer")
WINDOWED = (
    "mistral", "gemma2", "gemma3", "phi3", "olmo3", "exaone4", "cohere2", "granite_swa",
    "muse_glimmer", "gemma4", "gemma4_unified",
)  # fmt: skip


def parameter_name(key, family):
    """What the IR calls the tensor `key` of a Hugging Face checkpoint."""
    if key == "model.embed_tokens.weight":
        return "token_embd.weight"
    if key.startswith("model.norm."):
        return "output_norm." + key.removeprefix("model.norm.")
    if key == "lm_head.weight":
        return "output.weight"
    _, _, layer, rest = key.split(".", 3)
    if rest == "self_attn.sinks":
        return f"blk.{layer}.attn_sinks.weight"
    if rest == "layer_scalar":
        return f"blk.{layer}.layer_output_scale.weight"
    module, suffix = rest.rsplit(".", 1)
    if module == "post_attention_layernorm":
        local = "post_attention_norm" if family in NORM_AFTER_ATTENTION else "ffn_norm"
    else:
        local = LAYER_NAMES[module]
    return f"blk.{layer}.{local}.{suffix}"


def gguf_name(key, family):
    name = parameter_name(key, family)
    return name.replace("ffn_norm", "post_attention_norm") if family == "seed_oss" else name


def llama3_factors(config, parameters):
    """What llama.cpp's converter writes as rope_freqs.weight."""
    dims = config["head_dim"]
    low = parameters["original_max_position_embeddings"] / parameters["low_freq_factor"]
    high = parameters["original_max_position_embeddings"] / parameters["high_freq_factor"]
    factors = []
    for i in range(0, dims, 2):
        wavelength = 2 * math.pi * parameters["rope_theta"] ** (i / dims)
        if wavelength < high:
            factors.append(1.0)
        elif wavelength > low:
            factors.append(parameters["factor"])
        else:
            smooth = (
                parameters["original_max_position_embeddings"] / wavelength
                - parameters["low_freq_factor"]
            ) / (parameters["high_freq_factor"] - parameters["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / parameters["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_metadata(writer, config, family):
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    if family.startswith("gemma4"):
        write_wide_heads(writer, config)
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        rotated = config["rope_parameters"].get("partial_rotary_factor", 1)
        writer.add_rope_dimension_count(int(config["head_dim"] * rotated))
    if family == "stablelm":
        writer.add_parallel_residual(config["use_parallel_residual"])
    if "layer_norm_eps" in config:
        writer.add_layer_norm_eps(config["layer_norm_eps"])
    else:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if family in WINDOWED and config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    if family in ("granite_swa", "muse_glimmer", "gemma4", "gemma4_unified"):
        writer.add_sliding_window_pattern(
            [kind == "sliding_attention" for kind in config["layer_types"]]
        )
    if family == "granite_swa":
        writer.add_array(
            "granite_swa.attention.rope_pattern", [theta != 0 for theta in config["layer_rope_theta"]]
        )
    if family == "muse_glimmer":
        writer.add_logit_scale(config["output_multiplier"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if family in ("granite", "granite_swa"):
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    if family == "cohere2":
        writer.add_logit_scale(config["logit_scale"])
    if family in ("gemma2", "gemma3"):
        writer.add_attention_scale(config["query_pre_attn_scalar"] ** -0.5)
    if family == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def wide_heads(config):
    """Of layers without a window: the size of heads, and how many keys have."""
    saved = next(iter(config.get("per_layer_config", {}).values()), {})
    kv_heads = saved.get("num_key_value_heads") or config.get("num_global_key_value_heads")
    return saved.get("head_dim") or config["global_head_dim"], kv_heads


def write_wide_heads(writer, config):
    wide, kv_heads = wide_heads(config)
    writer.add_head_count_kv([
        kv_heads or config["num_key_value_heads"] if kind == "full_attention" else config["num_key_value_heads"]
        for kind in config["layer_types"]
    ])  # fmt: skip
    writer.add_key_length(wide)
    writer.add_value_length(wide)
    writer.add_key_length_swa(config["head_dim"])
    writer.add_value_length_swa(config["head_dim"])
    writer.add_rope_dimension_count(wide)
    writer.add_rope_dimension_count_swa(config["head_dim"])
    writer.add_rope_freq_base_swa(config["rope_parameters"]["sliding_attention"]["rope_theta"])
    pairs = int(wide * config["rope_parameters"]["full_attention"]["partial_rotary_factor"]) // 2
    factors = [1.0] * pairs + [1e30] * (wide // 2 - pairs)
    writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    writer.add_shared_kv_layers(0)
    writer.add_embedding_length_per_layer_input(0)
    if config["final_logit_softcapping"]:
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def write_rope(writer, parameters, context, dims):
    import gguf

    parameters = parameters.get("full_attention", parameters)
    growth = parameters.get("alpha", 1) ** (dims / (dims - 2))
    writer.add_rope_freq_base(parameters["rope_theta"] * growth)
    if "llama_4_scaling_beta" in parameters:
        writer.add_rope_scaling_yarn_log_mul(parameters["mscale_all_dim"])
        writer.add_attn_temperature_scale(parameters["llama_4_scaling_beta"])
    if parameters["rope_type"] in ("linear", "yarn"):
        kind = "LINEAR" if parameters["rope_type"] == "linear" else "YARN"
        writer.add_rope_scaling_type(gguf.RopeScalingType[kind])
        writer.add_rope_scaling_factor(parameters["factor"])
    if parameters["rope_type"] == "longrope":
        original = parameters["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(original)
        growth = max(context / original, 1)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(growth) / math.log(original)))
        for kind in ("long", "short"):
            factors = np.array(parameters[kind + "_factor"], dtype=np.float32)
            writer.add_tensor(f"rope_factors_{kind}.weight", factors)
    if parameters["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])


def write_tokenizer(writer, directory, pre):
    """The folder's tokenizer.json and chat template, as llama.cpp's converter writes them."""
    data = json.loads((directory / "tokenizer.json").read_text())
    config = json.loads((directory / "tokenizer_config.json").read_text())
    ids = dict(data["model"]["vocab"])
    added = {token["content"]: token["id"] for token in data["added_tokens"]}
    ids |= added
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    tokens = sorted(ids, key=ids.get)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in added else 1 for token in tokens])
    merges = data["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(added[config["bos_token"]])
    writer.add_eos_token_id(added[config["eos_token"]])
    writer.add_chat_template(config["chat_template"])


def write_gguf(directory, path, quantisation=None, pre=None):
    """Writes the Hugging Face model in `directory` as GGUF; matrices as `quantisation`, or F32. `pre`:
    what GGUF calls its tokenizer's patterns; None: without a tokenizer."""
    import gguf
    from safetensors import safe_open

    config = json.loads((pathlib.Path(directory) / "config.json").read_text())
    config = config.get("text_config", config)
    config.setdefault("head_dim", None)
    if config["head_dim"] is None:
        config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
    family = config["model_type"].removesuffix("_text")
    arch = ARCHITECTURES.get(family, family)
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_name("test")
    write_metadata(writer, config, family)
    write_rope(
        writer, config["rope_parameters"], config["max_position_embeddings"], config["head_dim"]
    )
    if pre:
        write_tokenizer(writer, pathlib.Path(directory), pre)
    with safe_open(str(pathlib.Path(directory) / "model.safetensors"), "pt") as tensors:
        for key in tensors.keys():
            if key.startswith("model.vision"):
                continue
            value = tensors.get_tensor(key).to(torch.float32).numpy()
            key = key.replace("model.language_model.", "model.")
            name = gguf_name(key, family)
            if key.endswith("norm.weight") and has_offset(family, key):
                value = value + np.float32(1)
            if arch in INTERLEAVED and ".attn_q." in name:
                value = permute(value, config["num_attention_heads"])
            if arch in INTERLEAVED and ".attn_k." in name:
                value = permute(value, config["num_key_value_heads"])
            value = np.ascontiguousarray(value)
            if quantisation is not None and value.ndim == 2:
                value = gguf.quants.quantize(value, quantisation)
                writer.add_tensor(name, value, raw_dtype=quantisation)
            else:
                writer.add_tensor(name, value)
    if family == "muse_glimmer":
        for layer in range(config["num_hidden_layers"]):
            for part, gain in (("q", config["qk_scale_factor"]), ("k", 1)):
                gains = np.full(config["head_dim"], gain, dtype=np.float32)
                writer.add_tensor(f"blk.{layer}.attn_{part}_norm.weight", gains)
    if config["rope_parameters"].get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config, config["rope_parameters"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", choices=MODELS)
    parser.add_argument("--no-gguf", action="store_true")
    options = parser.parse_args()
    for name in [options.only] if options.only else MODELS:
        directory = options.out / name
        directory.mkdir(parents=True, exist_ok=True)
        make(name, directory)
        if not options.no_gguf and name not in WITHOUT_GGUF:
            write_gguf(directory, options.out / f"{name}.gguf")
        print(name, flush=True)


if __name__ == "__main__":
    main()
