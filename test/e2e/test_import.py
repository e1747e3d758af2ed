# One model from Hugging Face and from GGUF must be one model. SPDX-License-Identifier: Apache-2.0
"""test_import.py DUMP_PARAMS

Makes every model of make_models.py, imports its directory and its GGUF file by dump-params, and
compares: all parameters bit for bit (some norms' gains are stored plus one in GGUF), with the
tensors as transformers saved them too, and the computation line by line.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import make_models
import numpy as np
from safetensors.numpy import load_file, save_file


def run(dump, source, out):
    text = out.with_suffix(".mlir")
    subprocess.run([dump, str(source), str(out), str(text)], check=True)
    return load_file(str(out)), text.read_text()


# Families whose parameters are not just the saved tensors: parts, multiples, in another order.
MADE = ("gemma4", "phi3", "granite", "glm4", "ernie4_5", "cohere2", "muse_glimmer")


def computation(text, name):
    """The lines of lm.forward, without what the two formats say differently."""
    text = text[text.index("lm.forward") :]
    # GGUF has what HF's numbers give: a table, an amplitude, a base, and these as f32.
    if name in ("llama3_rope", "phi3_long", "ministral3"):
        text = re.sub(r"scaling <[^>]*>", "scaling", text)
    if name == "hunyuan":
        text = re.sub(r"base [^ ]*", "base", text)
    return text.replace(" offset", "").splitlines()


def is_shifted(name, key):
    """Whether GGUF has the gain plus one."""
    block = ("attn_norm.weight", "ffn_norm.weight", "post_attention_norm.weight", "post_ffw_norm.weight")
    gains = {"gemma": "norm.weight", "muse": block}
    return not name.startswith("gemma4") and key.endswith(gains.get(re.match("[a-z]*", name).group(), ()))


def check_against_saved(name, directory, params):
    if name.startswith(MADE):
        return
    saved = load_file(str(directory / "model.safetensors"))
    family = json.loads((directory / "config.json").read_text())["model_type"]
    family = family.removesuffix("_text")
    names = {make_models.parameter_name(key, family): value for key, value in saved.items()}
    assert names.keys() == params.keys(), names.keys() ^ params.keys()
    for key, value in names.items():
        assert np.array_equal(value, params[key]), f"{name}: {key} is not what was saved"


def check(dump, name, root):
    directory = root / name
    make_models.make(name, directory)
    ours, text = run(dump, directory, root / f"{name}.hf.safetensors")
    check_against_saved(name, directory, ours)
    if name in make_models.WITHOUT_GGUF:
        return
    gguf_file = root / f"{name}.gguf"
    make_models.write_gguf(directory, gguf_file)
    theirs, other = run(dump, gguf_file, root / f"{name}.gguf.safetensors")
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if is_shifted(name, key):
            value = value + np.float32(1)
        assert np.array_equal(value, theirs[key]), f"{name}: {key} differs between the formats"
    first, second = computation(text, name), computation(other, name)
    assert first == second, [pair for pair in zip(first, second) if pair[0] != pair[1]][:3]


def split_into_shards(directory, out):
    """The same model as three shards and an index."""
    import shutil

    out.mkdir()
    shutil.copy(directory / "config.json", out)
    tensors = load_file(str(directory / "model.safetensors"))
    shards = [f"model-{i + 1:05}-of-00003.safetensors" for i in range(3)]
    weight_map = {key: shards[i % 3] for i, key in enumerate(sorted(tensors))}
    for shard in shards:
        save_file({k: v for k, v in tensors.items() if weight_map[k] == shard}, str(out / shard))
    index = {"metadata": {}, "weight_map": weight_map}
    (out / "model.safetensors.index.json").write_text(json.dumps(index))


def layout(root, name, config, tensors):
    """A Hugging Face folder with this config and these tensors."""
    folder = root / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


def check_layouts(dump, root):
    """A model is the same under every name that its tensors may have."""
    config = json.loads((root / "mistral" / "config.json").read_text())
    plain = load_file(str(root / "mistral" / "model.safetensors"))
    want, _ = run(dump, root / "mistral", root / "plain.safetensors")

    def renamed(change):
        return {change(key): value for key, value in plain.items()}

    wrapped = {"model_type": "mistral3", "text_config": config, "tie_word_embeddings": False}
    tower = {"vision_tower.ln.weight": np.ones(4, np.float32)}
    inner = lambda key: key.replace("model.", "model.language_model.")
    layouts = {
        "bare": (config, renamed(lambda key: key.removeprefix("model."))),
        "compiled": (config, renamed(lambda key: "_orig_mod." + key)),
        "wrapped-v4": (wrapped, renamed(lambda key: "language_model." + key) | tower),
        "wrapped-v5": (wrapped, renamed(inner) | {"model." + k: v for k, v in tower.items()}),
        "with-mtp": (config, plain | {"mtp.layers.0.norm.weight": np.ones(4, np.float32)}),
        "with-buffer": (config, plain | {"model.rotary_emb.inv_freq": np.ones(4, np.float32)}),
    }
    for name, (settings, tensors) in layouts.items():
        got, _ = run(dump, layout(root, name, settings, tensors), root / "layout.safetensors")
        assert got.keys() == want.keys(), (name, got.keys() ^ want.keys())
        for key, value in want.items():
            assert np.array_equal(value, got[key]), (name, key)
    count = {"model.position_ids": np.arange(4)}
    folder = layout(root, "integers", config, plain | count)
    assert "'model.position_ids' has no place" in refusal(dump, folder, 4)


def check_heads(dump, root):
    """A head of its own counts, whatever the config says of ties."""
    config = json.loads((root / "llama" / "config.json").read_text())
    assert config["tie_word_embeddings"]
    tied = load_file(str(root / "llama" / "model.safetensors"))
    table = tied["model.embed_tokens.weight"]
    out = root / "heads.safetensors"

    def heads(name, changes, drop=(), **settings):
        tensors = {key: value for key, value in (tied | changes).items() if key not in drop}
        folder = layout(root, name, config | settings, tensors)
        return folder

    got, _ = run(dump, heads("equal", {"lm_head.weight": table}), out)
    assert "output.weight" not in got
    got, _ = run(dump, heads("own", {"lm_head.weight": table + 1}), out)
    assert np.array_equal(got["output.weight"], table + 1)
    assert np.array_equal(got["token_embd.weight"], table)
    only = heads("only", {"lm_head.weight": table}, ["model.embed_tokens.weight"])
    got, text = run(dump, only, out)
    assert np.array_equal(got["token_embd.weight"], table) and "output.weight" not in got
    folder = heads("untied", {}, tie_word_embeddings=False)
    assert "has no tensor 'lm_head.weight' (320x64)" in refusal(dump, folder, 3)


def refusal(dump, source, code):
    """The one line that `source` is refused with."""
    done = subprocess.run([dump, str(source), "/dev/null"], capture_output=True, text=True)
    assert done.returncode == code, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def check_refusals(dump, root):
    """What only shows when the model is built: tensors missing, misshapen, or too many."""
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "fuzz"))
    import make_regression_corpus as corpus

    path = root / "bad.gguf"
    path.write_bytes(corpus.model())
    run(dump, path, root / "sound.safetensors")
    cases = [
        (3, {"drop": ["blk.0.ffn_up.weight"]}, "has no tensor 'blk.0.ffn_up.weight' (8x8)"),
        (3, {"drop": ["output_norm.weight"]}, "has no tensor 'output_norm.weight' (8)"),
        (3, {"shapes": {"blk.0.attn_k.weight": [8, 8]}},
         "tensor 'blk.0.attn_k.weight' is 8x8, but the model needs 4x8"),
        (3, {"shapes": {"blk.0.attn_norm.weight": [8, 1]}}, "is 1x8, but the model needs 8"),
        (3, {"changes": {"llama.block_count": (corpus.U32, 2)}}, "'blk.1.attn_norm.weight'"),
        (4, {"shapes": {"blk.0.attn_q_norm.weight": [4]}}, "'blk.0.attn_q_norm.weight' has no place"),
        (4, {"shapes": {"blk.7.attn_q.weight": [8, 8]}}, "'blk.7.attn_q.weight' has no place"),
    ]
    for code, arguments, message in cases:
        path.write_bytes(corpus.model(**arguments))
        line = refusal(dump, path, code)
        assert message in line, line
    check_layer_scales(dump, root)


def check_layer_scales(dump, root):
    """Layers' numbers that would leave a stream of zeros, or of more than f32 squares."""
    folder = root / "scales"
    shutil.copytree(root / "gemma4", folder)
    saved = load_file(str(folder / "model.safetensors"))
    for last, product in ((0, "0"), (-1, "-1"), (1e-12, "1")):
        for key in saved:
            if key.endswith("layer_scalar"):
                saved[key][:] = last if ".6." in key else 1
        save_file(saved, str(folder / "model.safetensors"))
        line = refusal(dump, folder, 4)
        assert "layers.6.layer_scalar' is " in line and f"by which the layers have multiplied by {product}" in line, line


def main():
    dump = sys.argv[1]
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name in make_models.MODELS:
            check(dump, name, root)
            print(f"{name}: the same from both formats", flush=True)
        split_into_shards(root / "llama", root / "sharded")
        whole, _ = run(dump, root / "llama", root / "whole.safetensors")
        parts, _ = run(dump, root / "sharded", root / "parts.safetensors")
        assert all(np.array_equal(whole[key], parts[key]) for key in whole | parts)
        print("sharded: the same as whole")
        check_layouts(dump, root)
        print("layouts: the same under every name")
        check_heads(dump, root)
        print("heads: a checkpoint's own head is used")
        check_refusals(dump, root)
        print("models that do not fit together are refused by name")


if __name__ == "__main__":
    main()
