# Files that are damaged, or not what they should be.
# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import shutil
import struct

import numpy as np

import tiny
from failing import BAD_INPUT, UNSUPPORTED


def gguf_files(b):
    good = tiny.gguf_metadata(b.work / "hf" / "tokenizer.json")
    tensors = tiny.gguf_tensors()
    up = "blk.0.ffn_up.weight"
    for what, code, pattern, metadata, more in (
            ("of the sixth part of two", BAD_INPUT, "key 'split.no' is 5 of 2 parts",
             {"split.no": (tiny.U32, 5), "split.count": (tiny.U32, 2)}, {}),
            ("without an embedding", BAD_INPUT, "has no matrix 'token_embd.weight'", {}, {"tensors": tensors[1:]}),
            ("with a number that is text", BAD_INPUT, "the file is damaged or was converted wrongly",
             {"llama.block_count": (tiny.STRING, "six")}, {}),
            ("with heads that are none", BAD_INPUT, "the file is damaged", {"llama.attention.head_count": (tiny.U32, 0)}, {}),
            ("of a type that is gone", UNSUPPORTED, "which is not read: take another quantisation", {}, {"types": {up: 4}}),
            ("from a big-endian machine", UNSUPPORTED, "the file is big-endian", {}, {"version": 3 << 24}),
            ("with factors that are a matrix", BAD_INPUT, "is not a short F32 vector", {},
             {"tensors": tensors + [("rope_freqs.weight", np.ones((2, 2), np.float32))]}),
            ("with windows that are no booleans", BAD_INPUT, "booleans: the file is damaged",
             {"general.architecture": (tiny.STRING, "gemma3"), "gemma3.attention.sliding_window": (tiny.U32, 8),
              "gemma3.attention.sliding_window_pattern": (tiny.ARRAY, (tiny.U32, [1, 2]))}
             | {key.replace("llama.", "gemma3."): value for key, value in good.items() if key.startswith("llama.")}, {})):
        path = b.work / "wrong.gguf"
        tiny.write_gguf(path, good | metadata, **more)
        b.compile(f"a GGUF file {what}", code, pattern, path, "--recipe", "int8")


def folders(b):
    def fails(what, code, pattern, name, text):
        folder = b.work / "wrong"
        shutil.copytree(b.work / "hf", folder, dirs_exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
        if name == "model.safetensors.index.json":
            (folder / "model.safetensors").rename(folder / "a.safetensors")
        b.compile(what, code, pattern, folder, "--recipe", "int8")
        shutil.rmtree(folder)

    index = "model.safetensors.index.json"
    fails("an index that is none", BAD_INPUT, "has no 'weight_map' object: the file is damaged", index, [])
    fails("an index of too many files", BAD_INPUT, "files, more than 4096", index,
          {"weight_map": {str(n): f"{n}.safetensors" for n in range(5000)}})
    fails("an index of another model", BAD_INPUT, "which the index says it has: the files are of", index,
          {"weight_map": {"nothing": "a.safetensors"}})
    fails("a config that is no config", BAD_INPUT, "bytes, more than the .* that such a file may have: check that it is the right file",
          "config.json", bytes(20 << 20))
    fails("a config that is a list", BAD_INPUT, "the document is not a JSON object: the file is damaged", "config.json", [])
    fails("a config without a size", BAD_INPUT, "has no key '.*the file is damaged or not this model's", "config.json",
          {key: value for key, value in tiny.CONFIG.items() if key != "hidden_size"})
    fails("a config with a size that is text", BAD_INPUT, "is not an integer: the file is damaged or not this model's",
          "config.json", tiny.CONFIG | {"hidden_size": "128"})
    fails("a config with an epsilon below zero", BAD_INPUT, "the file is damaged or not a model's", "config.json",
          tiny.CONFIG | {"rms_norm_eps": -1})
    fails("a way to quantise that is not known", UNSUPPORTED, "use the model's F32, F16 or BF16 checkpoint", "config.json",
          tiny.CONFIG | {"quantization_config": {"quant_method": "aqlm"}})
    header = {"model.norm.weight": {"dtype": "F8_E5M2", "shape": [1], "data_offsets": [0, 1]}}
    text = json.dumps(header).encode()
    name = "model.layers.2.mlp.up_proj.weight"
    whole = b.teacher("whole numbers", lambda tensors: tensors | {name: tensors[name].astype(np.int32)})
    b.compile("matrices of whole numbers", UNSUPPORTED, "which is no format of weights", whole, "--recipe", "int8")
    fails("weights in a float of 8 bits", UNSUPPORTED, "take a checkpoint in F32, F16 or BF16", "model.safetensors",
          struct.pack("<Q", len(text)) + text + b"\0")
    fails("weights that are cut", BAD_INPUT, "the file is damaged, download it again", "model.safetensors", b"\0" * 4)


def adapters(b):
    from safetensors.numpy import save_file
    folder = b.work / "update"
    folder.mkdir()
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    lora = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}
    for what, code, pattern, config, dtype in (
            ("that is a list", BAD_INPUT, "the document is not a JSON object: the file is damaged", [], np.float32),
            ("of another kind", UNSUPPORTED, "merge the adapter with peft's merge_and_unload", lora | {"peft_type": "IA3"}, np.float32),
            ("with ranks that are a list", BAD_INPUT, "key 'rank_pattern' is not a JSON object", lora | {"rank_pattern": [1]}, np.float32),
            ("of whole numbers", UNSUPPORTED, "which is no format of weights", lora, np.int32)):
        (folder / "adapter_config.json").write_text(json.dumps(config))
        save_file({name.format("A"): np.ones((2, tiny.HIDDEN), dtype), name.format("B"): np.ones((tiny.HIDDEN, 2), dtype)},
                  str(folder / "adapter_model.safetensors"))
        b.compile(f"an adapter {what}", code, pattern, b.work / "hf", "--recipe", "int8", "--adapter", folder)


def checkpoints(b):
    gguf_files(b)
    folders(b)
    adapters(b)


def tokenizers(b):
    folder = b.teacher("another tokenizer")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(?<=a)b"}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    b.compile("a pattern of another kind", UNSUPPORTED, "pre-tokeniser pattern", folder, "--recipe", "int8")


def bundles(b):
    """Damage to a bundle that is a file, and to one that is a folder."""
    good = (b.work / "good.retort").read_bytes()
    wrong = b.work / "wrong.retort"
    at, size = struct.unpack_from("<QQ", good, 8)
    manifest = json.loads(good[at:at + size])

    def fails(what, content, pattern):
        wrong.write_bytes(content)
        b.expect(f"a bundle with {what}", BAD_INPUT, pattern, "run", wrong, "-p", "x")

    def flipped(where):
        return good[:where] + bytes([good[where] ^ 16]) + good[where + 1:]

    fails("a changed manifest", flipped(at + size // 2), "the manifest does not match its SHA-256")
    fails("changed weights", flipped(manifest["parts"]["weights.bin"]["offset"]), r"\(after byte 0 of it\)")
    b.run("compile", b.work / "hf", "-o", str(b.work / "folder") + "/", "--recipe", "int8")
    folder = b.work / "folder"
    weights = (folder / "weights.bin").read_bytes()
    (folder / "weights.bin").write_bytes(weights[:-64])
    b.expect("a folder with weights that are cut", BAD_INPUT, "that the manifest says: copy the bundle again", "run", folder, "-p", "x")
    (folder / "weights.bin").write_bytes(weights)
    (folder / "manifest.json").write_bytes(b" " * (17 << 20))
    b.expect("a folder with a manifest too large", BAD_INPUT, r"manifest.json: is larger than", "run", folder, "-p", "x")


def conversations(b):
    path = b.work / "wrong.json"
    for pattern, talk in (("is no list of objects: write it as", ["hi"]),
                          ("which is none of messages, tools", {"messages": [], "more": 1})):
        path.write_text(json.dumps(talk))
        b.expect(f"a conversation that {pattern}", BAD_INPUT, pattern, "chat-render", b.work / "hf", path, "--chat-template",
                 b.template("{{ messages }}"))
