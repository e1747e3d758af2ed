#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad input to the commands: one line that names the file and the fault, the documented exit code
(docs/errors.md), and nothing under the output's name.

    test_bad_input.py RETORT [--work DIR] [CASE...]
"""
import argparse
import copy
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

USAGE, BAD_INPUT, UNSUPPORTED, RESOURCES, IO = 2, 3, 4, 5, 6
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Bench:
    """A folder with good inputs, and what runs `retort` and judges how it failed."""

    def __init__(self, retort, work):
        self.retort, self.work = retort, work
        tiny.write_all(work)
        self.gguf, self.hf, self.corpus = work / "teacher.gguf", work / "hf", work / "corpus"
        self.metadata = tiny.gguf_metadata(self.hf / "tokenizer.json")
        self.out = work / "out.retort"
        self.failures = 0

    def run(self, *arguments, stdin=""):
        environment = dict(os.environ, RETORT_WORKSPACE=str(self.work / "workspace"))
        return subprocess.run([self.retort, *map(str, arguments)], capture_output=True, text=True,
                              input=stdin, timeout=300, env=environment, errors="replace")

    def check(self, what, process, codes, *patterns, lines=1):
        """The exit code is one of `codes`; stderr's error is one line that matches `patterns`."""
        codes = codes if isinstance(codes, tuple) else (codes,)
        # Progress and notes come first; the error is what begins with the program's name.
        stderr = [line for line in process.stderr.splitlines() if line.strip()]
        errors = [line for line in stderr if line.startswith("retort: ")
                  and not line.startswith("retort: note:")]
        faults = []
        if process.returncode not in codes:
            faults.append(f"exit code {process.returncode}, expected {codes}")
        if lines and (len(errors) != 1 or (errors and stderr[-1] != errors[0])):
            faults.append(f"{len(errors)} error lines, expected one, the last")
        for pattern in patterns:
            if not re.search(pattern, process.stderr):
                faults.append(f"no match for /{pattern}/")
        left = [p.name for p in self.work.iterdir() if p.name.startswith("out.retort")]
        if left:
            faults.append(f"left behind: {left}")
            for name in left:
                path = self.work / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if faults:
            self.failures += 1
            print(f"FAILED: {what}: {'; '.join(faults)}")
            print("  " + "\n  ".join(stderr[-8:]) or "  (nothing on stderr)")

    def compile_fails(self, what, teacher, codes, *patterns, options=("--recipe", "int8")):
        process = self.run("compile", teacher, "-o", self.out, *options)
        self.check(what, process, codes, *patterns)

    def gguf_fails(self, what, codes, *patterns, metadata=None, **changes):
        path = self.work / "bad.gguf"
        tiny.write_gguf(path, metadata or self.metadata, **changes)
        self.compile_fails(what, path, codes, "bad.gguf", *patterns)

    def metadata_with(self, **changes):
        """Metadata with keys replaced ('__' stands for '.'); None removes one."""
        result = copy.deepcopy(self.metadata)
        for key, value in changes.items():
            key = key.replace("__", ".")
            if value is None:
                del result[key]
            else:
                result[key] = value
        return result

    def hf_copy(self, name="bad"):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.hf, folder)
        return folder

    def bundle(self):
        path = self.work / "good.retort"
        if not path.exists():
            process = self.run("compile", self.gguf, "-o", path, "--recipe", "int8")
            if process.returncode != 0:
                sys.exit("the good teacher does not compile:\n" + process.stderr)
        return path


@case
def good_inputs_compile(b):
    """Else every refusal below proves nothing."""
    b.bundle()
    process = b.run("compile", b.hf, "-o", b.work / "hf.retort", "--recipe", "none")
    if process.returncode != 0:
        b.failures += 1
        print("FAILED: the Hugging Face folder does not compile:\n" + process.stderr)


@case
def truncated_gguf(b):
    whole = b.gguf.read_bytes()
    for size in (0, 3, 4, 20, 30, 1000, len(whole) // 2, len(whole) - 100):
        path = b.work / "bad.gguf"
        path.write_bytes(whole[:size])
        b.compile_fails(f"GGUF cut to {size} bytes", path, BAD_INPUT, "bad.gguf: .*the file is damaged, download it again")


@case
def truncated_safetensors(b):
    whole = (b.hf / "model.safetensors").read_bytes()
    for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        folder = b.hf_copy()
        (folder / "model.safetensors").write_bytes(whole[:size])
        b.compile_fails(f"safetensors cut to {size} bytes", folder, BAD_INPUT, "model.safetensors")


@case
def gguf_counts_and_offsets(b):
    for count in (2**63, 2**64 - 1, 2**32, 10**6):
        b.gguf_fails(f"{count} tensors", BAD_INPUT, tensor_count=count)
        b.gguf_fails(f"{count} metadata entries", BAD_INPUT, metadata_count=count)
    for offset in (2**63, 2**64 - 32, 2**40, 7):
        b.gguf_fails(f"tensor at {offset}", BAD_INPUT, "ffn_up",
                     offsets={"blk.0.ffn_up.weight": offset})
    for dims in ((2**32, 2**32), (2**62, 4), (2**63, 1), (0, 256)):
        b.gguf_fails(f"shape {dims}", BAD_INPUT, "ffn_up", dims={"blk.0.ffn_up.weight": dims})
    b.gguf_fails("type 999", (BAD_INPUT, UNSUPPORTED), "ffn_up", types={"blk.0.ffn_up.weight": 999})
    b.gguf_fails("version 99", UNSUPPORTED, "GGUF version 99 is not read", version=99)


@case
def gguf_strings(b):
    """Lengths of strings and arrays inside the metadata that reach past the end or overflow."""
    good = b.gguf.read_bytes()
    at = good.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 4 + 4
    for count in (2**64 - 1, 2**61, 2**31):
        bad = bytearray(good)
        struct.pack_into("<Q", bad, at, count)
        path = b.work / "bad.gguf"
        path.write_bytes(bad)
        b.compile_fails(f"array of {count}", path, BAD_INPUT, "bad.gguf")
        bad = bytearray(good)
        struct.pack_into("<Q", bad, 24, count)  # the first key's length
        path.write_bytes(bad)
        b.compile_fails(f"key of {count} bytes", path, BAD_INPUT, "bad.gguf")


@case
def safetensors_headers(b):
    whole = (b.hf / "model.safetensors").read_bytes()
    size = struct.unpack_from("<Q", whole)[0]
    header, data = json.loads(whole[8:8 + size]), whole[8 + size:]
    name = "model.layers.0.mlp.up_proj.weight"

    def fails(what, text, *patterns):
        folder = b.hf_copy()
        raw = text if isinstance(text, bytes) else json.dumps(text).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + data)
        b.compile_fails(what, folder, BAD_INPUT, "model.safetensors", *patterns)

    def changed(**fields):
        result = copy.deepcopy(header)
        result[name].update(fields)
        return result

    begin, end = header[name]["data_offsets"]
    fails("offsets past the end", changed(data_offsets=[begin, 2**50]), name)
    fails("offsets backwards", changed(data_offsets=[end, begin]), name)
    fails("negative offset", changed(data_offsets=[-8, end]), "")
    fails("overflowing shape", changed(shape=[2**62, 8]), name)
    fails("shape of another size", changed(shape=[1, 1]), name)
    fails("overlap", changed(data_offsets=[begin - 64, end - 64]), "")
    fails("no JSON", b"{\"a\": ", "")
    fails("deep nesting", b"{\"a\":" + b"[" * 100000, "")
    text = json.dumps(header)
    entry = json.dumps(name) + ": " + json.dumps(header[name])
    fails("a tensor twice", (text[:-1] + ", " + entry + "}").encode(), name)
    for length in (2**63, 2**64 - 1, 2**33):
        folder = b.hf_copy()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + whole[8:])
        b.compile_fails(f"header of {length} bytes", folder, BAD_INPUT, "model.safetensors")


@case
def duplicate_and_overlapping_tensors(b):
    tensors = tiny.gguf_tensors()
    b.gguf_fails("a tensor twice", BAD_INPUT, "token_embd.weight", tensors=tensors + [tensors[0]])
    b.gguf_fails("overlap", BAD_INPUT, "blk.0", offsets={"blk.0.ffn_up.weight": 0})


@case
def numbers_out_of_range(b):
    for key, value in [("llama__attention__head_count", 0), ("llama__attention__head_count", 2**31),
                       ("llama__attention__head_count_kv", 3), ("llama__attention__head_count_kv", 0),
                       ("llama__block_count", 0), ("llama__block_count", 2**32 - 1),
                       ("llama__embedding_length", 2**32 - 1), ("llama__context_length", 0)]:
        b.gguf_fails(f"{key} = {value}", BAD_INPUT,
                     metadata=b.metadata_with(**{key: (tiny.U32, value)}))
    b.gguf_fails("a norm epsilon that is no number", BAD_INPUT, metadata=b.metadata_with(
        llama__attention__layer_norm_rms_epsilon=(tiny.F32, float("nan"))))
    b.gguf_fails("no head count", BAD_INPUT, "head_count",
                 metadata=b.metadata_with(llama__attention__head_count=None))
    b.gguf_fails("beginning token out of range", BAD_INPUT, "999999", metadata=b.metadata_with(
        tokenizer__ggml__bos_token_id=(tiny.U32, 999999)))
    b.gguf_fails("a merge of tokens that are not there", BAD_INPUT, metadata=b.metadata_with(
        tokenizer__ggml__merges=(tiny.ARRAY, (tiny.STRING, ["zzzz qqqq"]))))
    b.gguf_fails("a merge of one part", BAD_INPUT, metadata=b.metadata_with(
        tokenizer__ggml__merges=(tiny.ARRAY, (tiny.STRING, ["ab"]))))
    b.gguf_fails("an unknown pre-tokeniser", UNSUPPORTED, "no-such-pre", metadata=b.metadata_with(
        tokenizer__ggml__pre=(tiny.STRING, "no-such-pre")))


@case
def numbers_out_of_range_in_config(b):
    for key, value in [("num_attention_heads", 0), ("num_attention_heads", -4),
                       ("num_attention_heads", 5), ("num_key_value_heads", 3),
                       ("num_hidden_layers", 10**9), ("vocab_size", -1), ("hidden_size", "128"),
                       ("max_position_embeddings", 0), ("rms_norm_eps", -1e-5)]:
        folder = b.hf_copy()
        (folder / "config.json").write_text(json.dumps(tiny.CONFIG | {key: value}))
        b.compile_fails(f"config.json with {key} = {value}", folder, BAD_INPUT, "the file is damaged")
    folder = b.hf_copy()
    (folder / "config.json").write_text("{" * 100000)
    b.compile_fails("config.json nested without end", folder, BAD_INPUT, "config.json")
    folder = b.hf_copy()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["extra"] = 10**9
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    b.compile_fails("a token id out of range", folder, BAD_INPUT, "tokenizer.json")


@case
def missing_and_misshapen_tensors(b):
    tensors = [t for t in tiny.gguf_tensors() if t[0] != "blk.2.ffn_down.weight"]
    b.gguf_fails("missing tensor", BAD_INPUT, r"blk\.2\.ffn_down\.weight.*the checkpoint is not a whole one, or is named otherwise", tensors=tensors)
    tensors = [(n, v[:-1] if n == "blk.1.ffn_up.weight" else v) for n, v in tiny.gguf_tensors()]
    b.gguf_fails("wrong shape", BAD_INPUT, r"blk\.1\.ffn_up\.weight", tensors=tensors)


@case
def unknown_architecture(b):
    b.gguf_fails("GGUF of an unknown architecture", UNSUPPORTED, "architecture 'mamba' is not supported: use a model of", metadata=b.metadata_with(
        general__architecture=(tiny.STRING, "mamba")))
    folder = b.hf_copy()
    (folder / "config.json").write_text(json.dumps(
        tiny.CONFIG | {"model_type": "mamba", "architectures": ["MambaForCausalLM"]}))
    b.compile_fails("folder of an unknown architecture", folder, UNSUPPORTED, "(?i)mamba")


@case
def teachers_that_are_none(b):
    b.compile_fails("no such file", b.work / "none.gguf", IO, "none.gguf")
    (b.work / "text.gguf").write_text("not a model\n" * 100)
    b.compile_fails("a text file", b.work / "text.gguf", BAD_INPUT, "text.gguf")
    (b.work / "hollow").mkdir(exist_ok=True)
    b.compile_fails("an empty folder", b.work / "hollow", IO, "hollow: has no config.json: give a .gguf file")


@case
def bad_corpora(b):
    def fails(what, folder, code, *patterns):
        b.compile_fails(what, b.gguf, code, *patterns, options=("--corpus", folder))
        process = b.run("eval", b.gguf, "--corpus", folder)
        b.check(what + " (eval)", process, code, *patterns)

    empty, binary = b.work / "empty", b.work / "binary"
    empty.mkdir(exist_ok=True)
    fails("an empty corpus", empty, BAD_INPUT, "empty", "0 files")
    binary.mkdir(exist_ok=True)
    (binary / "a.txt").write_bytes(bytes(range(256)) * 10)
    (binary / "b.bin").write_bytes(b"\0" * 100)
    fails("a corpus of binary files", binary, BAD_INPUT, "2 files", "1 binary")
    fails("a corpus that is not there", b.work / "nowhere", IO, "nowhere")
    b.compile_fails("a corpus that holds out too little", b.gguf, BAD_INPUT, r"160 documents and holds out \d+ of",
                    "need 50", "--small-corpus", options=("--corpus", b.corpus))


@case
def bad_commands(b):
    b.check("no such command", b.run("frobnicate"), USAGE)
    b.check("no such option", b.run("compile", b.gguf, "-o", b.out, "--no-such"), USAGE, "--help")
    b.compile_fails("no such recipe", b.gguf, USAGE, "neither a file nor a built-in recipe.*int4", options=("--recipe", "int44"))
    b.compile_fails("no such target", b.gguf, USAGE, "'quantum' is no target",
                    options=("--recipe", "int8", "--target", "quantum"))
    b.compile_fails("a budget that is no size", b.gguf, USAGE, "lots",
                    options=("--recipe", "int8", "--budget", "lots"))
    process = b.run("compile", b.gguf, "-o", b.out, "--passes", "builtin.module(no-such-pass,)")
    b.check("a pass that is not there", process, USAGE, "no-such-pass", r"(?m)^ *\^", lines=0)
    process = b.run("compile", b.gguf, "-o", b.out, "--passes", "builtin.module(")
    b.check("a pipeline that does not parse", process, USAGE, "builtin.module", lines=0)
    process = b.run("compile", b.gguf, "-o", b.out, "--passes",
                    "builtin.module(quantize-weights{format=eight})")
    b.check("an option that does not parse", process, USAGE, "eight", lines=0)
    (b.work / "bad.pipeline").write_text("builtin.module(\n  no-such-pass\n)\n")
    process = b.run("compile", b.gguf, "-o", b.out, "--recipe", b.work / "bad.pipeline")
    b.check("a recipe file that does not parse", process, USAGE, "no-such-pass", lines=0)


@case
def impossible_budgets(b):
    b.compile_fails("a budget for int8", b.gguf, RESOURCES, "budget",
                    options=("--recipe", "int8", "--budget", "1kB"))
    b.compile_fails("a budget for the specialist", b.gguf, RESOURCES, "no shape meets the budget of",
                    options=("--corpus", b.corpus, "--small-corpus", "--budget", "1kB"))


@case
def unwritable_outputs(b):
    def fails(what, output, *patterns, codes=IO):
        process = b.run("compile", b.gguf, "-o", output, "--recipe", "int8")
        b.check(what, process, codes, *patterns)

    fails("an output in a folder that is not there", b.work / "no" / "dir" / "x.retort", "no/dir: is no folder, so")
    fails("an output under /proc", "/proc/x.retort", "/proc", codes=(RESOURCES, IO))
    (b.work / "file").write_text("x")
    fails("an output below a file", b.work / "file" / "x.retort", "file")
    keep = b.work / "keep.retort"
    keep.write_text("precious")
    fails("an output that exists", keep, "keep.retort: exists: add --force to replace it", codes=USAGE)
    if keep.read_text() != "precious":
        b.failures += 1
        print("FAILED: an output that exists was overwritten without --force")


@case
def flipped_bytes(b):
    good = b.bundle().read_bytes()
    manifest_at, manifest_bytes = struct.unpack_from("<QQ", good, 8)
    manifest = json.loads(good[manifest_at:manifest_at + manifest_bytes])
    bad = b.work / "bad.retort"

    def fails(what, content, *patterns):
        bad.write_bytes(content)
        b.check(what, b.run("run", bad, "-p", "x", "-n", "1"), BAD_INPUT, "bad.retort", *patterns)

    def flipped(at):
        return good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:]

    for name, part in manifest["parts"].items():
        at = part["offset"] + part["bytes"] // 2
        if name in ("weights.bin", "program.so", "tokenizer.bin"):  # what running reads
            fails(f"a flipped byte in {name}", flipped(at), re.escape(name))
    fails("a flipped byte in the magic", flipped(3))
    fails("a flipped byte in the manifest", flipped(manifest_at + manifest_bytes // 2))
    fails("a flipped byte in the manifest's hash", flipped(30))
    for size in (0, 5, 12, 100, len(good) // 2, len(good) - 1):
        fails(f"a bundle cut to {size} bytes", good[:size])
    for length in (2**63, 2**64 - 1, 2**40, 0):
        fails(f"a manifest of {length} bytes", good[:16] + struct.pack("<Q", length) + good[24:])
        fails(f"a manifest at {length}", good[:8] + struct.pack("<Q", length) + good[16:])
    b.check("no such bundle", b.run("run", b.work / "none.retort", "-p", "x"), IO, "none.retort")
    b.check("bench of a damaged bundle", b.run("bench", bad), BAD_INPUT, "bad.retort")
    b.check("inspect of a damaged bundle", b.run("inspect", bad), BAD_INPUT, "bad.retort")


@case
def numbers(b):
    """A number that is none, negative or too large is refused before anything is read."""
    for option, values in {"--distill-tokens": ("-5", "0", "x", str(2**64 - 1)),
                           "--seed": ("-1", "1.5", str(2**63)),
                           "--threads": ("-1", "100000")}.items():
        for value in values:
            process = b.run("compile", b.gguf, "--corpus", b.corpus, "--small-corpus", "--dry-run",
                            option, value)
            b.check(f"compile {option} {value}", process, USAGE, option, re.escape(value))
    for option, value in (("-n", "-1"), ("--top-k", "-1"), ("--top-p", "1.5"),
                          ("--min-p", "2"), ("--repetition-penalty", "0"),
                          ("--temperature", "-1"), ("--seed", "-1"), ("--threads", "-1")):
        process = b.run("run", b.bundle(), "-p", "x", option, value)
        b.check(f"run {option} {value}", process, USAGE, re.escape(value))


@case
def long_prompts(b):
    prompt = "word " * (2 * tiny.CONTEXT)
    process = b.run("run", b.bundle(), "-n", "1", "-p", prompt)
    b.check("a prompt longer than the context", process, RESOURCES, str(tiny.CONTEXT), r"\d{4} tokens")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("retort")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("cases", nargs="*", help="names of cases; all if none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retort-bad-") as folder:
        bench = Bench(options.retort, options.work or pathlib.Path(folder))
        for name, function in CASES.items():
            if not options.cases or name in options.cases:
                print(name, flush=True)
                function(bench)
        print(f"{bench.failures} failures")
        sys.exit(bench.failures != 0)


if __name__ == "__main__":
    main()
