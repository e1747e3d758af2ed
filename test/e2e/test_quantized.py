# Quantised Hugging Face checkpoints: each weight, and whole models. SPDX-License-Identifier: Apache-2.0
"""test_quantized.py DUMP_TENSORS DUMP_PARAMS EXECUTOR_TOOL LIBRARY

Writes a small random model by every method of quantized.py and compares: every weight with what the
method's definition gives, bit for bit (bitsandbytes' 8 bits to one unit of the last place);
compressed-tensors also with what that package decompresses; and the logits of the whole model with
those of transformers with these weights. Then what does not fit together must be refused by name.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import make_models
import numpy as np
import torch
from quantized import METHODS
from safetensors.torch import load_file, save_file
from test_logits import LIMIT, executor_logits, random_sequences, transformers_logits, worst

# Exceptions, as "ignore" and "modules_to_not_convert" make them: these matrices stay as they are.
KEPT = ("lm_head", "model.embed_tokens", "model.layers.1.self_attn.q_proj")


def make_folder(method, base, folder):
    """A quantised copy of the model in `base`, and the weights that it stands for."""
    config, encode = METHODS[method]
    tensors, weights = {}, {}
    for index, (name, value) in enumerate(sorted(load_file(str(base / "model.safetensors")).items())):
        stem = name.removesuffix(".weight")
        if value.dim() != 2 or stem in KEPT:
            tensors[name] = value
            continue
        made, stands_for = encode(stem, tuple(value.shape), np.random.default_rng(index))
        # Spread as the model's own, so that every part of it matters.
        tensors |= made
        weights[name] = stands_for
    folder.mkdir()
    settings = json.loads((base / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"quantization_config": config}))
    save_file({name: value.contiguous() for name, value in tensors.items()},
              str(folder / "model.safetensors"))
    return weights


def check_weights(dump, method, folder, weights, out):
    subprocess.run([dump, str(folder), str(out)], check=True)
    got = load_file(str(out))
    extra = {name for name in got if name not in weights and not name.endswith((".weight", ".bias"))}
    assert not extra, (method, extra)
    for name, value in weights.items():
        ours = got[name].numpy()
        if method == "bnb-int8":
            assert np.allclose(ours, value, rtol=2e-7, atol=0), (method, name)
        else:
            same = ours.view(np.uint32) == value.astype(np.float32).view(np.uint32)
            assert same.all(), (method, name, ours[~same][:4], value[~same][:4])


def decompressed(folder, weights):
    """What the compressed-tensors package makes of the folder's matrices."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    compressor = BaseCompressor.get_value_from_registry(config["format"])
    scheme = QuantizationScheme(**config["config_groups"]["group_0"])
    tensors = load_file(str(folder / "model.safetensors"))
    for name in weights:
        stem = name.removesuffix("weight")
        parts = {key.removeprefix(stem): value for key, value in tensors.items()
                 if key.startswith(stem) and "input" not in key}  # fmt: skip
        yield name, compressor.decompress(parts, scheme)["weight"]


def check_logits(tool, library, method, base, folder, weights, work):
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(base), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        for name, value in weights.items():
            model.get_parameter(name).copy_(torch.from_numpy(np.array(value)))
    sequences = random_sequences(model.config.vocab_size, [[40], [7, 20]], 1)
    ours = executor_logits(tool, library, folder, sequences, model.config.vocab_size, work)
    return worst(method, ours, transformers_logits(model, sequences)) <= LIMIT


def check_older_modelopt(dump, work):
    """ModelOpt's first versions describe the quantisation in a file of its own."""
    folder = changed(work / "modelopt-nvfp4", work / "older")
    settings = json.loads((folder / "config.json").read_text())
    quantization = settings.pop("quantization_config")
    (folder / "config.json").write_text(json.dumps(settings))
    described = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": quantization["quant_algo"]}}
    (folder / "hf_quant_config.json").write_text(json.dumps(described))
    dumps = []
    for source in (folder, work / "modelopt-nvfp4"):
        subprocess.run([dump, str(source), str(work / "dump.safetensors")], check=True)
        dumps.append(load_file(str(work / "dump.safetensors")))
    assert dumps[0].keys() == dumps[1].keys()
    assert all(torch.equal(value, dumps[1][name]) for name, value in dumps[0].items())
    (folder / "hf_quant_config.json").write_text("[]")
    assert "has no object 'quantization'" in refusal(dump, folder, 3)


def refusal(dump, folder, code):
    done = subprocess.run([dump, str(folder), "/dev/null"], capture_output=True, text=True)
    assert done.returncode == code, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and folder.name in lines[0], done.stderr
    return lines[0]


def changed(source, folder, tensors=None, drop=(), config=None):
    """A copy of the folder with other tensors, without some, or with another config."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    settings = json.loads((source / "config.json").read_text())
    settings["quantization_config"] |= config or {}
    (folder / "config.json").write_text(json.dumps(settings))
    kept = load_file(str(source / "model.safetensors"))
    kept = {name: value for name, value in kept.items() if not name.endswith(tuple(drop))}
    for ending, change in (tensors or {}).items():
        name = next(name for name in kept if name.endswith(ending))
        kept[name] = change(kept[name]).contiguous()
    save_file(kept, str(folder / "model.safetensors"))
    return folder


def check_refusals(dump, dump_params, work):
    cases = [
        ("gptq", 4, {"config": {"quant_method": "aqlm"}}, "quantised by 'aqlm'"),
        ("gptq", 4, {"config": {"checkpoint_format": "marlin"}}, "in the format 'marlin'"),
        ("awq", 4, {"config": {"version": "gemv"}}, "in the format 'gemv'"),
        ("ct-int4", 4, {"config": {"format": "marlin-24"}}, "in the format 'marlin-24'"),
        ("ct-int4", 4, {"config": {"transform_config": {"config_groups": {}}}}, "'transform_config'"),
        ("gptq", 3, {"drop": [".scales"]}, ".scales', which belongs to"),
        ("gptq", 3, {"drop": [".qzeros"]}, ".qzeros', which belongs to"),
        ("gptq", 3, {"config": {"bits": 8}}, "has 4 bits in groups of 32 columns, but config.json says 8"),
        ("gptq", 3, {"config": {"group_size": 16}}, "says 4 bits in groups of 16"),
        ("gptq", 3, {"config": {"bits": "4"}}, "key 'bits' of its quantization is not a small"),
        ("gptq", 3, {"tensors": {".qweight": lambda t: t.float()}}, "is stored as F32, not as I32: the file does not match its quantization_config"),
        ("gptq", 3, {"tensors": {".scales": lambda t: t.int()}}, "is stored as I32, not as F16"),
        ("gptq", 3, {"tensors": {".scales": lambda t: t[:, 1:]}}, "but its matrix needs"),
        ("gptq", 3, {"tensors": {".g_idx": lambda t: t[1:]}}, ".g_idx' is"),
        ("gptq", 4, {"tensors": {".qzeros": lambda t: t.repeat(1, 2)[:, : t.shape[1] * 5 // 4]}}, "codes of 5 bits"),
        ("gptq-3", 3, {"tensors": {".qweight": lambda t: t[1:]}}, "which do not divide the 85 columns"),
        ("modelopt-fp8", 4, {"config": {"quant_algo": "W4A8_AWQ"}}, "ModelOpt's 'W4A8_AWQ'"),
        ("modelopt-nvfp4", 3, {"drop": [".weight_scale_2"]}, ".weight_global_scale', which belongs to"),
        ("quark-fp8", 4, {"config": {"export": {"weight_format": "fake_quantized"}}}, "in the format 'fake_quantized'"),
        ("quark-mxfp4", 4, {"tensors": {".o_proj.weight": lambda t: t.int()}}, "of I32 codes"),
        ("quark-int4", 4, {"config": {"export": {"pack_method": "shuffle"}}}, "Quark's codes packed by 'shuffle' are not supported"),
        ("quark-int4", 4, {"config": {"layer_quant_config": {"*": {"weight": [{}, {}]}}}}, "that Quark quantised in several steps"),
        ("quark-int4", 4, {"config": {"layer_quant_config": {"*a*": {}, "*b*": {"weight": None}, "*mlp*": {"weight": {}}}}},
         "fits more than one name in Quark's 'layer_quant_config'"),
        ("quark-int4", 4, {"config": {"layer_type_quant_config": {"Linear": {}}}}, "Quark's 'layer_type_quant_config' is not"),
        ("quark-int4", 4, {"config": {"layer_quant_config": {"*": {"weight": {"dtype": "int3"}}}}}, "Quark's codes of 'int3' are not supported"),
        ("quark-int4", 4, {"config": {"layer_quant_config": {"*": {"weight": {"dtype": "int4", "qscheme": "per_block"}}}}},
         "Quark's scheme 'per_block' for 'int4' is not"),
        ("quark-int4", 4, {"config": {"layer_quant_config": {"*": {"weight": {"dtype": "int4", "qscheme": "per_group", "ch_axis": 0}}}}},
         "that Quark quantised along axis 0 is not"),
        ("quark-int4", 3, {"config": {"layer_quant_config": {"*": {"weight": {"dtype": "int4", "qscheme": "per_group", "group_size": 7}}}}},
         "columns, which groups of 7 do not fill"),
        ("quark-int4", 3, {"tensors": {".weight_zero_point": lambda t: t[1:]}}, "but its matrix needs"),
        ("quark-int4", 3, {"tensors": {".weight_scale": lambda t: t[:, 8:]}}, "but its matrix needs"),
        ("quark-int8-groups", 3, {"tensors": {".o_proj.weight": lambda t: t.view(torch.uint8)}}, "is stored as U8, not as I8"),
        ("awq", 3, {"tensors": {".qweight": lambda t: t[:-1]}}, "which do not divide the"),
        ("awq", 3, {"tensors": {".scales": lambda t: t[0]}}, "not a matrix: the file is damaged"),
        ("ct-int4", 3, {"tensors": {".weight_shape": lambda t: t * 2}}, "which are no codes of 2, 4 or 8"),
        ("ct-int4", 3, {"tensors": {".weight_scale": lambda t: t.repeat(1, 2)}}, "that config.json does not name"),
        ("ct-nvfp4", 3, {"drop": [".weight_global_scale"]}, ".weight_global_scale', which belongs to"),
        ("ct-nvfp4", 3, {"tensors": {".weight_scale": lambda t: t.view(torch.uint8)[:, 1:].view(t.dtype)}}, "but its matrix needs"),
        ("ct-fp8-channel", 3, {"drop": [".weight_scale"]}, ".weight_scale', which belongs to"),
        ("fp8-block", 3, {"config": {"weight_block_size": [128, 128]}}, "but its matrix needs 1x1"),
        ("fp8-block", 3, {"config": {"weight_block_size": [0, 128]}}, "is not two sizes"),
        ("fp8-block", 3, {"drop": [".weight_scale_inv"]}, ".weight_scale_inv', which belongs to"),
        ("mxfp4", 3, {"tensors": {"_scales": lambda t: t[:, :1]}}, "but its matrix needs"),
        ("bnb-nf4", 3, {"drop": [".absmax"]}, ".absmax', which belongs to"),
        ("bnb-nf4", 3, {"tensors": {"__nf4": lambda t: t[:-1]}}, "is not valid JSON"),
        ("bnb-nf4", 3, {"tensors": {".k_proj.weight": lambda t: t[1:]}}, "bytes of codes"),
        ("bnb-nf4", 3, {"tensors": {".quant_map": lambda t: t[1:]}}, "but its matrix needs 16"),
        ("bnb-nf4-nested", 3, {"drop": [".nested_absmax"]}, ".nested_absmax', which belongs to"),
    ]  # fmt: skip
    for method, code, change, message in cases:
        line = refusal(dump, changed(work / method, work / "changed", **change), code)
        assert message in line, line
    # Scales that are no numbers show when weights are read.
    for method, ending in (("gptq", ".scales"), ("ct-fp8-channel", ".weight_scale")):
        folder = changed(work / method, work / "changed", {ending: lambda t: t * float("nan")})
        done = subprocess.run([dump_params, str(folder), "/dev/null"], capture_output=True, text=True)
        assert done.returncode == 3 and "has NaN in row 0, column 0" in done.stderr, done.stderr
    # A column of a group that is not there, too.
    folder = changed(work / "gptq-act-order", work / "changed", {".g_idx": lambda t: t + 1})
    done = subprocess.run([dump_params, str(folder), "/dev/null"], capture_output=True, text=True)
    assert done.returncode == 3 and "in group" in done.stderr, done.stderr
    # A bias that is not zero has no place in a llama.
    folder = changed(work / "gptq", work / "changed", {".o_proj.bias": lambda t: t + 1})
    done = subprocess.run([dump_params, str(folder), "/dev/null"], capture_output=True, text=True)
    assert done.returncode == 4 and "o_proj.bias' has no place" in done.stderr, done.stderr
    print(f"{len(cases) + 4} folders that do not fit together are refused by name")


def main():
    dump, dump_params, tool, library = sys.argv[1:5]
    failed = []
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        base = work / "base"
        make_models.MODELS["base"] = ("LlamaConfig", make_models.base(num_hidden_layers=2))
        make_models.make("base", base)
        for method in METHODS:
            folder = work / method
            weights = make_folder(method, base, folder)
            check_weights(dump, method, folder, weights, work / "dump.safetensors")
            if method.startswith("ct-"):
                for key, value in decompressed(folder, weights):
                    ours = torch.from_numpy(weights[key]).to(value.dtype)
                    assert torch.allclose(ours, value, rtol=1e-2, atol=1e-6), (method, key)
            if not check_logits(tool, library, method, base, folder, weights, work):
                failed.append(method)
        check_older_modelopt(dump, work)
        check_refusals(dump, dump_params, work)
    if failed:
        sys.exit(f"more than {LIMIT} differs: {', '.join(failed)}")


if __name__ == "__main__":
    main()
