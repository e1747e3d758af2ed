# LoRA adapters against PEFT. SPDX-License-Identifier: Apache-2.0
"""test_adapter.py DUMP_PARAMS RETORT

Trains nothing: small random models get random adapters, which PEFT saves, and merges. Every parameter that
Retort makes of the base and the adapter must be the merged model's, from the Hugging Face folder and
from GGUF. Adapters that PEFT does not merge so, or that are for another base, are refused by name.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import make_models
import make_sparse_model
import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# name -> model of make_models, and the adapter's settings
CASES = {
    "plain": ("llama3_rope", {"target_modules": ["q_proj", "v_proj"]}),
    "rank-stabilised": ("llama3_rope", {"target_modules": LINEAR, "use_rslora": True, "r": 6}),
    "patterns": ("qwen3", {
        "target_modules": LINEAR, "rank_pattern": {"model.layers.1.self_attn.q_proj": 3, "down_proj": 5},
        "alpha_pattern": {"k_proj": 40, "^model.layers.0.mlp.up_proj": 2}}),
    "biases": ("llama_bias", {"target_modules": ["q_proj", "down_proj"], "bias": "all"}),
    "modules-to-save": ("llama3_rope", {"target_modules": ["q_proj"],
                                        "modules_to_save": ["lm_head", "embed_tokens"]}),
    "head": ("llama3_rope", {"target_modules": ["lm_head", "o_proj"]}),
    "norms": ("llama3_rope", {"target_modules": ["k_proj"], "modules_to_save": ["input_layernorm"]}),
    "fused": ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj", "down_proj"]}),
    "pairs-side-by-side": ("ernie4_5", {"target_modules": LINEAR}),
    "residual-scale": ("granite", {"target_modules": ["o_proj", "down_proj", "k_proj"]}),
    "gains-less-one": ("gemma", {"target_modules": ["o_proj", "q_proj"]}),
    "dora": ("llama3_rope", {"target_modules": LINEAR, "use_dora": True, "use_rslora": True}),
    "dora-fused": ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj"], "use_dora": True}),
    "dora-pairs": ("ernie4_5", {"target_modules": ["q_proj", "o_proj"], "use_dora": True}),
    "layers": ("llama", {"target_modules": ["q_proj"], "layers_to_transform": [1]}),
}  # fmt: skip


def dump(tool, base, out, adapter=""):
    subprocess.run([tool, str(base), str(out), "/dev/null", str(adapter)], check=True)
    return load_file(str(out))


def make_adapter(base, folder, settings, seed):
    """Saves a random adapter of the base, and gives the merged model's folder."""
    model = transformers.AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 12, "task_type": "CAUSAL_LM", **settings}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**settings))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if value.requires_grad:
                value.copy_(torch.randn(value.shape) * 0.2)
    adapted.save_pretrained(str(folder))
    merged = folder.parent / f"{folder.name}-merged"
    plain = adapted.merge_and_unload()
    plain.save_pretrained(str(merged))
    return merged


def check_case(tool, case, root, seed):
    name, settings = CASES[case]
    base = root / name
    if not base.exists():
        make_models.make(name, base)
        make_models.write_gguf(base, root / f"{name}.gguf")
    adapter = root / case
    merged = make_adapter(base, adapter, settings, seed)
    plain = dump(tool, base, root / "plain.safetensors")
    want = dump(tool, merged, root / "want.safetensors")
    for source in [base, root / f"{name}.gguf"]:
        if case == "norms" and source.suffix == ".gguf" and name.startswith("gemma"):
            continue
        got = dump(tool, source, root / "got.safetensors", adapter)
        assert got.keys() == want.keys(), (case, got.keys() ^ want.keys())
        changed = 0
        for key, value in want.items():
            if name == "gemma" and key.endswith("norm.weight") and source.suffix == ".gguf":
                value = value + np.float32(1)
            assert np.allclose(got[key], value, rtol=1e-5, atol=2e-6), (case, source.name, key)
            changed += key not in plain or not np.array_equal(plain[key], want[key])
        assert changed > 0, case
    print(f"{case}: {changed} parameters of {name} as PEFT merges them", flush=True)


def check_tied(tool, root):
    """An adapter of the head of a tied model parts it from the embedding, as while it was trained."""
    base, adapter = root / "llama", root / "tied"
    make_adapter(base, adapter, {"target_modules": ["lm_head"]}, 1)
    plain = dump(tool, base, root / "plain.safetensors")
    parts = load_file(str(adapter / "adapter_model.safetensors"))
    down, up = (next(v for k, v in parts.items() if k.endswith(f"lm_head.lora_{half}.weight")) for half in "AB")
    table = plain["token_embd.weight"]
    assert "output.weight" not in plain
    for source in [base, root / "llama.gguf"]:
        got = dump(tool, source, root / "got.safetensors", adapter)
        assert np.array_equal(got["token_embd.weight"], table)
        assert np.allclose(got["output.weight"], table + 3 * up @ down, rtol=1e-5, atol=2e-6)
    print("tied: the head has a table of its own")


def altered(source, folder, config=None, drop=(), rename=None, change=None):
    """A copy of an adapter's folder with another config or other tensors."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    settings = json.loads((source / "adapter_config.json").read_text()) | (config or {})
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    tensors = load_file(str(source / "adapter_model.safetensors"))
    tensors = {key: value for key, value in tensors.items() if not key.endswith(tuple(drop) or "?")}
    if rename:
        tensors = {rename(key): value for key, value in tensors.items()}
    if change:
        tensors = {key: np.ascontiguousarray(change(key, value)) for key, value in tensors.items()}
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    return folder


def refusal(command, code):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == code, (code, done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def check_refusals(tool, retort, root):
    plain, base = root / "plain", root / "llama3_rope"
    longer = lambda key, value: np.concatenate([value, value]) if "lora_B" in key else value
    cases = [
        (4, {"config": {"peft_type": "LOHA"}}, "an adapter of 'LOHA' is not supported"),
        (4, {"config": {"task_type": "SEQ_CLS"}}, "for the task 'SEQ_CLS'"),
        (4, {"config": {"lora_bias": True}}, "a LoRA with 'lora_bias'"),
        (3, {"config": {"use_dora": True}}, "q_proj.lora_magnitude_vector', a part of an update"),
        (4, {"config": {"init_lora_weights": "pissa_niter_4"}}, "begins as 'pissa_niter_4'"),
        (4, {"config": {"rank_pattern": {".*q_proj": 4}}}, "has an expression ('.*q_proj')"),
        (4, {"config": {"alpha_pattern": {"q_proj": 4, "self_attn.q_proj": 5}}}, "two entries of 'alpha_pattern'"),
        (4, {"rename": lambda key: key.replace("lora_A.weight", "lora_embedding_A")}, "of a variant of LoRA"),
        (4, {"rename": lambda key: key.removeprefix("base_model.model.")}, "is not named as PEFT"),
        (3, {"config": {"r": 5}}, "is not of the rank that adapter_config.json says, 5"),
        (3, {"config": {"lora_alpha": "12"}}, "key 'lora_alpha' is no number above 0: the file is damaged"),
        (3, {"drop": ["layers.0.self_attn.q_proj.lora_A.weight"]}, "lora_A.weight', a part of an update"),
        (3, {"change": longer}, "q_proj.lora_B.weight' is for a weight of 128x64, but 'layers.0.self_attn.q_proj.weight'"),
        (3, {"rename": lambda key: key.replace("layers.1.", "layers.7.")}, "layers.7.self_attn.q_proj.lora_A.weight' has no place in the llama model"),
        (3, {"rename": lambda key: key.replace("base_model.model.model.", "base_model.model.vision_tower.")}, "q_proj.lora_A.weight' has no place"),
        (3, {"rename": lambda key: key.replace("q_proj", "qkv_proj")}, "qkv_proj.lora_A.weight' has no place"),
    ]  # fmt: skip
    dora = [
        (4, {"config": {"use_dora": False}}, "lora_magnitude_vector' is of a variant of LoRA"),
        (3, {"drop": ["q_proj.lora_A.weight", "q_proj.lora_B.weight"]}, "q_proj.lora_A.weight', a part of an update"),
        (3, {"change": lambda key, value: value[1:] if "magnitude" in key else value}, "lora_magnitude_vector' is for a weight of 63, but"),
    ]  # fmt: skip
    cases = [(plain, *case) for case in cases] + [(root / "dora", *case) for case in dora]
    for source, code, change, message in cases:
        folder = altered(source, root / "altered", **change)
        line = refusal([tool, base, "/dev/null", "/dev/null", folder], code)
        assert message in line, line
    # By the commands: a folder that is none, an adapter in the place of a model, one beside a bundle.
    out = root / "out.mlir"
    line = refusal([retort, "import", base, "--adapter", base, "-o", out], 6)
    assert "has no adapter_config.json" in line and not out.exists(), line
    line = refusal([retort, "import", plain, "-o", out], 4)
    assert "give its base, and this as --adapter" in line, line
    print(f"{len(cases) + 2} adapters refused by name")


def check_commands(retort, root):
    """The adapter is part of what a bundle is made of."""
    base, plain = root / "llama3_rope", root / "plain"
    make_sparse_model.write_tokenizer(base, make_models.VOCAB)
    text = root / "with.mlir"
    subprocess.run([retort, "import", base, "--adapter", plain, "-o", text], check=True)
    program = text.read_text()
    assert "weight.product" in program and "by 3.0" in program, "12 / 4"
    manifests = []
    for adapter in ([], ["--adapter", plain]):
        bundle = root / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        subprocess.run([retort, "compile", base, *adapter, "--passes", "builtin.module(cast-weights{type=bf16})",
                        "-q", "-o", f"{bundle}/"], check=True)  # fmt: skip
        manifests.append(((bundle / "manifest.json").read_text(), (bundle / "weights.bin").read_bytes()))
    assert manifests[0][1] != manifests[1][1] and manifests[0][0] != manifests[1][0]
    line = refusal([retort, "eval", root / "bundle", "--adapter", plain, "--corpus", base], 2)
    assert "is a bundle" in line, line
    print("commands: an adapter changes the program, the weights and the teacher's hash")


def main():
    tool, retort = sys.argv[1:3]
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for seed, case in enumerate(CASES):
            check_case(tool, case, root, seed)
        check_tied(tool, root)
        check_refusals(tool, retort, root)
        check_commands(retort, root)


if __name__ == "__main__":
    main()
