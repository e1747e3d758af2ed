#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exit codes mean what docs/errors.md says. A table of failures, each made to happen: its code, and
what its one line says. The page, the enum and `retort --help` list the same codes, and each code has a
row. Every place where the code fails (fail_sites.py) is made to fail here or named by another test, or
stands among those that no test reaches, with why.

    test_exit_codes.py RETORT BROKEN_EXECUTOR FAILING_CALLS FAILING_DRIVER [PART ...]
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import fail_sites
import failing_files
import failing_system
import test_plans
import tiny
from bundles import FAKE_NVCC
from failing import (BAD_INPUT, DEVICE, GATE, INTERNAL, INTERRUPTED, IO, OK, RESOURCES, UNSUPPORTED, USAGE, Bench)
from test_resume import SmallDisk

FFN = "model.layers.2.mlp.up_proj.weight"
# Words of places that no test on this machine can reach, after the file's name where others say them too, and why.
UNREACHED = {
    "the output has no name": "the command line refuses an empty -o before",
    "codegen: no CPU kernels for": "the command line names no other CPUs",
    "sequences need at least one token": "the dialect refuses such ops",
    "is not writable, so": "root may write everywhere",
    "linking program.so": "needs a disk that is full between the objects and their program",
    "cannot be read as MLIR": "MLIR says what is wrong with it",
    "changed while it was read": "needs a teacher that changes in the moment that it is read",
    "became shorter while": "likewise",
    "it does not end in its only lm.logits": "no pass makes such a model",
    "does not read the block before it": "no pass makes such a model",
    "hidden features, the teacher": "no pass changes how wide a model is",
    "choose one of these": "the dialect refuses other formats",
    "overflows: the checkpoint's shapes are wrong": "the readers refuse such shapes",
    "cannot hold it: choose another layout": "the dialect refuses such packs",
    "the chat program is damaged": "a program is verified when it is opened",
    "chat/Program.cpp: compile the model again": "a part is compared with its SHA-256 before; fuzz_chat_program.cpp",
    "is no chat program: compile": "likewise", "program.so cannot be loaded": "ManifestTest, by its code",
    "the bundle's code cannot be loaded": "needs a driver that knows no such code",
    "compile the model again, with --target cuda": "a manifest that names code for GPUs has its part",
    "has no cooperative launch": "needs such a GPU", "the driver has no use for the bundle's code": "needs such a driver",
    "bytes of shared memory for a CTA": "CudaTest, by the number that is needed",
    "allowed: the bundle is damaged": "the reader of a file's end refuses it before",
    "the model has no chat template: give it a prompt": "the commands look before",
    "documents to pack have no tokens": "documents without text are left out before",
    "is damaged: delete it and run again": "an object is compared with its SHA-256 before",
    "pruning the vocabulary": "prune-vocabulary keeps what a tokenizer needs",
    "tokenizer.json cannot say that": "no reader makes such a tokenizer of a file that is whole",
    "the executor needs a CPU with AVX2": "needs an older CPU",
    "cannot be solved: raise the damping": "activations that are finite can be solved for",
    "there are no sequences": "documents that are packed make some",
    "the models' vocabularies differ": "eval compares models of two vocabularies by bits alone",
    "was interrupted at step": "which step a signal meets is chance: test_resume.py",
    "the GPUs failed in another session": "CudaTest, by its code",
    "no memory for": "needs a machine without memory for the smallest buffer",
    "positions, fewer than": "SessionTest, by its code", "indices must ascend": "SessionTest, by its code",
    "logits is a number above": "SamplerTest, in the words of retort.hpp",
    "gives nothing": "needs a kernel without random numbers, and fails one request alone",
    "Safetensors.cpp: lists more than": "needs a header of more tensors than the tests' files have bytes",
    "Safetensors.cpp: binary data": "JSON in text has none: the parser's interface asks for it",
    "logits or tokens is NULL": "SessionTest, by its code", "has no part": "CApiTest, by its code",
    "threads could be made": "root has no limit of threads",
    "the workspace needs": "the plan's sizes exceed no disk here", "the bundle needs": "likewise",
    "these losses need a teacher": "insert-distillation names one", "are beyond 16-bit scales": "PackTest, by its code",
    "variables: is no object": "ChatTest, by its code",
    "a value is undefined": "each undefined value says what is missing",
    "texts take more than 512 MB": "needs such texts",
    "or folders of them": "corpora without documents: test_bad_input.py, by its code",
}


def put(value):
    def change(tensors):
        tensors[FFN][3, 5] = value
    return change


def good(b):
    b.compile("the good teacher", OK, "", b.work / "hf", "--recipe", "int8")
    b.out.rename(b.work / "good.retort")
    b.run("compile", b.work / "hf", "-o", b.work / "none.retort", "--recipe", "none")


def usage(b):
    hf, bundle = b.work / "hf", b.work / "good.retort"
    b.expect("no command", USAGE, "", )
    b.compile("an unknown parameter", USAGE, "no parameter", hf, "--set", "nothing=1")
    b.compile("a gate without documents", USAGE, "--corpus", hf, "--gate", "bits_per_byte <= 1")
    (b.work / "empty.pipeline").write_text("// a recipe\n")
    b.compile("a recipe that is none", USAGE, "no pipeline", hf, "--recipe", b.work / "empty.pipeline")
    b.compile("a pass that cannot", USAGE, "cannot drop block 99", hf, "--passes",
              "builtin.module(prune-depth{drop=99})")
    corpus = ("--corpus", b.work / "corpus", "--small-corpus")
    for what, pattern, options in (
            ("no output", "name the bundle to write", []), ("no documents", "works on documents", ["--recipe", "specialist", "-o", b.out]),
            ("a form", "write persistent or graph", ["--target", "cuda:sm_90", "--form", "fast", "-o", b.out]),
            ("a GPU without a name", "name the architectures", ["--target", "cuda", "-o", b.out]),
            ("a gate that is none", "compares nothing", ["--gate", "better", "-o", b.out]),
            ("another anchor", "anchored on", ["--passes", "lm.model(cse)", "-o", b.out]),
            ("an option that is none", "see `retort compile --help`", ["--nothing"]),
            ("an output that is a device", "is neither a file nor a folder: name another output", ["-o", "/dev/null"]),
            ("another target", "is no target", ["--target", "quantum", "-o", b.out]),
            ("a form without a GPU", "is about GPUs: name one with --target", ["--form", "graph", "-o", b.out]),
            ("no temperature", "temperature of forward_kl must be finite and above 0",
             [*corpus, "-o", b.out, "--passes", "builtin.module(derive-student,insert-distillation{tokens=500 temperature=0},run-data-work)"])):
        b.expect(what, USAGE, pattern, "compile", hf, *options)
    b.compile("a fit to a teacher that adds less", USAGE, "adds to the stream", hf, *corpus, "--passes",
              f"builtin.module({test_plans.PIPELINES['teacher smaller']})")
    for what, pattern, text in (("a declaration", "declares nothing", "// s\n// parameter a = 1\nbuiltin.module()"),
                                ("a default", "the default of 'a'",
                                 "// s\n// parameter a = 2: whole from 0 to 1: x\nbuiltin.module()"),
                                ("a name", "the pipeline names 'b', which is no parameter", "// s\nbuiltin.module(prune-depth{drop=${b}})")):
        (b.work / "bad.pipeline").write_text(text)
        b.compile(f"a recipe with {what} that is none", USAGE, pattern, hf, "--recipe", b.work / "bad.pipeline")
    silent = b.teacher("silent", bos_token_id=None, eos_token_id=None)
    settings = json.loads((silent / "tokenizer_config.json").read_text())
    (silent / "tokenizer_config.json").write_text(json.dumps(settings | {"bos_token": None, "eos_token": None}))
    b.compile("a teacher whose texts have no beginning", OK, "", silent, "--recipe", "int8")
    b.out.rename(b.work / "silent.retort")
    b.expect("a prompt without text", USAGE, "the prompt is empty", "run", b.work / "silent.retort", "-p", "")
    b.expect("an adapter beside a bundle", USAGE, "is merged into a checkpoint, but", "eval", bundle, "--adapter", hf, "--corpus",
             b.work / "corpus")
    b.expect("nothing to eval", USAGE, "name documents", "eval", bundle)
    (b.work / "talk.json").write_text('[{"role": "user", "content": "hi"}]')
    b.expect("a variable that is none", USAGE, "write it as NAME=VALUE", "chat-render", bundle, b.work / "talk.json", "--chat-var", "x",
             "--chat-template", b.template("{{ messages }}"))
    for option, value in (("--seed", 2**64), ("--seed", "1e3"), ("-n", 2**64), ("--threads", "0x10")):
        b.expect(f"run {option} {value}", USAGE, str(value), "run", bundle, "-p", "x", option, value)
    for arguments in (["compile", b.work / "teacher.gguf", "-o", b.work / "teacher.gguf", "--force"],
                      ["compile", hf, "-o", hf / "model.safetensors", "--force", "--recipe", "int8"],
                      ["import", b.work / "teacher.gguf", "-o", b.work / "teacher.gguf"],
                      ["corpus", b.work / "corpus", "--documents", b.work / "corpus" / "page000.3.txt"],
                      ["eval", bundle, "--corpus", b.work / "corpus", "--documents", bundle]):
        path = pathlib.Path(arguments[arguments.index("-o" if "-o" in arguments else "--documents") + 1])
        before = path.read_bytes()
        b.expect(f"{arguments[0]} over its own input", USAGE, "is read by this command", *arguments)
        if path.read_bytes() != before:
            b.failures += 1
            print(f"FAILED: {arguments[0]} replaced its own input")


def numbers_that_are_none(b):
    """NaN and infinity are refused where weights are read, updates kept, scores printed or gated."""
    where = f"'{FFN}' has .*row 3, column 5"
    for name, value, recipes in (("nan", np.nan, ("none", "int8", "fp8", "int4")), ("inf", np.inf, ("none", "int4"))):
        bad = b.teacher(name, put(value))
        for recipe in recipes:
            b.compile(f"{name} in a weight, {recipe}", BAD_INPUT, where, bad, "--recipe", recipe)
    b.expect("inf in a weight, eval", BAD_INPUT, where, "eval", bad, "--corpus", b.work / "corpus")
    b.compile("inf in a weight, specialist", BAD_INPUT, where, bad, "--corpus", b.work / "corpus", "--small-corpus")
    beyond = b.teacher("beyond", lambda t: {k: v if k == FFN else v.astype(np.float16) for k, v in t.items()}
                       | {FFN: np.full_like(t[FFN], 1e5)})
    b.compile("a value that f16 cannot hold", BAD_INPUT, "65504", beyond, "--recipe", "none")
    # Finite weights whose products are not: what a model says is looked at too.
    huge = b.teacher("huge", lambda t: {k: np.where(v == 0, v, np.sign(v) * np.float32(3e38)) if "norm" in k else v
                                        for k, v in t.items()})
    b.compile("weights that overflow", OK, "", huge, "--recipe", "none")
    b.out.rename(b.work / "huge.retort")
    b.expect("run of a model that overflows", BAD_INPUT, "finite", "run", b.work / "huge.retort", "-p", "int")
    for against in ([], ["--against", b.work / "none.retort"]):
        for arguments in ([b.work / "huge.retort", *against], [huge, *against]):
            b.expect(f"eval {arguments}", BAD_INPUT, "no finite number", "eval", *arguments, "--corpus",
                     b.work / "corpus", "-q", "--text-bytes", "2000")
    task = b.work / "task.jsonl"
    task.write_text('{"prompt": "int", "choices": ["a", "b"], "answer": 0}\n')
    b.expect("a task for a model that overflows", BAD_INPUT, "question 1.*no finite number", "eval",
             b.work / "huge.retort", "--task", task)
    b.compile("observing a model that overflows", BAD_INPUT, "finite", huge, "--corpus", b.work / "corpus",
              "--small-corpus", "--passes",
              "builtin.module(insert-observation{statistics=ffn tokens=1000},run-data-work,prune-ffn{keep=0.5})")
    b.compile("a training that diverges", BAD_INPUT, "not finite", b.work / "hf", "--corpus", b.work / "corpus",
              "--small-corpus", "--passes",
              "builtin.module(insert-tuning{tokens=4096 batch-tokens=512 clip=1e30 learning-rate=1e30 warmup=0},"
              "run-data-work,apply-training)")


def bad_input(b):
    hf = b.work / "hf"
    stats = b.work / "stats.json"
    prune = f"builtin.module(prune-ffn{{keep=0.5 stats={stats}}})"
    for what, text in (("damaged", '{"format": "retort-stats-1", "blo'),
                       ("of another model", '{"format": "retort-stats-1", "blocks": {"blk.0": {"ffn": [1]}}}')):
        stats.write_text(text)
        b.compile(f"statistics {what}", BAD_INPUT, "stat", hf, "--passes", prune)
    (b.work / "bad.jsonl").write_text("{")
    b.expect("a task file that is none", BAD_INPUT, "bad.jsonl", "eval", b.work / "good.retort", "--task",
             b.work / "bad.jsonl")
    (b.work / "bad.mlir").write_text("lm.model {")
    b.expect("IR that does not parse", BAD_INPUT, "bad.mlir", "inspect", b.work / "bad.mlir")
    (b.work / "none.jsonl").write_text("\n")
    b.expect("a task without questions", BAD_INPUT, "has no questions", "eval", b.work / "good.retort", "--task",
             b.work / "none.jsonl")
    (b.work / "short.retort").write_bytes(b"RETORTB1\0")
    b.expect("a bundle that is cut", BAD_INPUT, "less than a bundle's header", "run", b.work / "short.retort", "-p", "x")
    metadata = tiny.gguf_metadata(hf / "tokenizer.json")
    for key, pattern in (("llama.block_count", "has no key"), ("general.architecture", "has no key 'general.architecture'"),
                         ("tokenizer.ggml.model", "no tokenizer.ggml.model: the file has no tokenizer")):
        path = b.work / "lacking.gguf"
        tiny.write_gguf(path, {k: v for k, v in metadata.items() if k != key})
        b.compile(f"a GGUF file without {key}", BAD_INPUT, pattern, path, "--recipe", "int8")
    for what, tensors, total, pattern in (("twice", [tiny.gguf_tensors(), tiny.gguf_tensors()], 0, "is in two parts"),
                                          ("too few", [tiny.gguf_tensors()[:5], tiny.gguf_tensors()[5:]], 99, "tensors together, not 99")):
        for number, some in enumerate(tensors):
            split = {"split.no": (tiny.U32, number), "split.count": (tiny.U32, 2)}
            split |= {"split.tensors.count": (tiny.I32, total or 2 * len(some))}
            tiny.write_gguf(b.work / f"parts-{number + 1:05}-of-00002.gguf", metadata | split, some)
        b.compile(f"parts with tensors {what}", BAD_INPUT, pattern, b.work / "parts-00001-of-00002.gguf", "--recipe", "int8")


def unsupported(b):
    half = {"head_dim": 24, "hidden_size": 128}
    def heads(tensors):
        for name, value in list(tensors.items()):
            if any(p in name for p in ("q_proj", "k_proj", "v_proj")):
                tensors[name] = value[: len(value) * 24 // 32].copy()
            if "o_proj" in name:
                tensors[name] = value[:, : value.shape[1] * 24 // 32].copy()
    b.compile("a head size that no kernel has", UNSUPPORTED, "24 features", b.teacher("odd", heads, **half),
              "--recipe", "none")
    for what, model, words in (("teacher", b.work / "silent", "neither a beginning nor an end token, so no text can be scored"),
                               ("bundle", b.work / "silent.retort", "neither a beginning nor an end token")):
        b.expect(f"a score by a {what} whose texts have no beginning", UNSUPPORTED, words, "eval", model, "--corpus", b.work / "corpus")
    b.compile("an old GPU", UNSUPPORTED, "and the kernels need 8.0", b.work / "hf", "--recipe", "int8", "--target", "cuda:sm_70")
    b.compile("an nvcc that is none", UNSUPPORTED, "which is no program: set it to nvcc's path", b.work / "hf", "--recipe", "int8",
              "--target", "cuda:sm_80", before="export CUDACXX=/nonexistent;")
    test_plans.model(b.work / "one", max_position_embeddings=1)
    b.compile("a context of one token", UNSUPPORTED, "none can be predicted", b.work / "one", "--recipe", "specialist",
              "--corpus", b.work / "corpus", "--small-corpus")
    b.compile("a bundle with a context of one token", OK, "", b.work / "one", "--recipe", "int8")
    b.out.rename(b.work / "one.retort")
    for model in ("one", "one.retort"):
        b.expect(f"a score by {model}", UNSUPPORTED, f"{model}' has a context of one token, so none can be predicted", "eval",
                 b.work / model, "--corpus", b.work / "corpus")
    adapter = b.work / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    b.compile("an adapter", UNSUPPORTED, "LoRA", adapter, "--recipe", "int8")
    tiny.write_gguf(b.work / "nine.gguf", tiny.gguf_metadata(b.work / "hf" / "tokenizer.json"), version=9)
    b.compile("a later GGUF", UNSUPPORTED, "GGUF version 9", b.work / "nine.gguf", "--recipe", "int8")
    embeds = b.teacher("embeds")
    (embeds / "modules.json").write_text("[]")
    b.compile("an embedding model", UNSUPPORTED, r"is an embedding model \('modules.json'\), not a language model", embeds, "--recipe", "int8")
    sentence = b.teacher("sentencepiece")
    (sentence / "tokenizer.json").unlink()
    (sentence / "tokenizer.model").write_bytes(b"x")
    b.compile("a tokenizer of another program", UNSUPPORTED, "no tokenizer.json", sentence, "--recipe", "int8")
    (b.work / "talk.json").write_text('[{"role": "user", "content": "hi"}]')
    b.expect("a chat without a template", UNSUPPORTED, "give one with --chat-template", "chat-render",
             b.work / "hf", b.work / "talk.json")
    b.expect("a chat without a format", UNSUPPORTED, "no chat template", "run", b.work / "good.retort", "--chat",
             stdin="hi\n")


def resources(b):
    hf, bundle = b.work / "hf", b.work / "good.retort"
    b.compile("a limit of a file's size", RESOURCES, "disk is full|ulimit -f", hf, "--recipe", "int8",
              before="ulimit -f 20; trap '' XFSZ;")
    # Whatever number of files is too few, it is named, and never called damage.
    named = 0
    for files in range(4, 24):
        process = b.run("run", bundle, "-p", "x", "-n", "1", "--threads", "1", before=f"ulimit -n {files};")
        if process.returncode in (OK, 127):  # 127: the dynamic linker had too few
            continue
        named += 1
        if process.returncode != RESOURCES or "Too many open files" not in process.stderr:
            b.failures += 1
            print(f"FAILED: ulimit -n {files}: {process.returncode} {process.stderr[-300:]!r}")
    if not named:
        b.failures += 1
        print("FAILED: no limit of open files was too low")
    # A folder within the corpus that cannot be opened for want of files is no corpus without text.
    (b.work / "deep" / "er").mkdir(parents=True)
    (b.work / "deep" / "er" / "a.txt").write_text("some text\n" * 50)
    seen = set()
    for files in range(3, 12):
        process = b.run("corpus", b.work / "deep", before=f"ulimit -n {files};")
        seen.add(process.returncode)
        if process.returncode not in (OK, 127) and "Too many open files" in process.stderr:
            b.expect(f"a corpus with {files} files", RESOURCES, "Too many open files", "corpus", b.work / "deep",
                     before=f"ulimit -n {files};")
    if RESOURCES not in seen or 3 in seen:
        b.failures += 1
        print("FAILED: codes of a corpus with too few files:", seen)
    with SmallDisk(b.work / "tmp", "64k") as disk:
        if disk.ok:
            b.compile("a full disk of temporary files", RESOURCES, "No space left.*TMPDIR", hf, "--recipe", "int8",
                      before=f"export TMPDIR={disk.path};")
        else:
            print("skipped: a tmpfs cannot be mounted here")
    (b.work / "long.jsonl").write_text(json.dumps({"prompt": "int", "choices": ["word " * 3000, "a"], "answer": 0}))
    b.expect("an answer longer than the context", RESOURCES, "a continuation of", "eval", bundle, "--task", b.work / "long.jsonl")
    b.compile("a training of batches that no memory holds", RESOURCES, "the compile needs about", hf, "--corpus", b.work / "corpus",
              "--small-corpus", "--passes", "builtin.module(insert-tuning{tokens=10000000000 batch-tokens=10000000000},run-data-work,"
              "apply-training{model=teacher})")
    (b.work / "talk.json").write_text('[{"role": "user", "content": "hi"}]')
    for pattern, text in (("takes more than", "{% set s = 'x' * 1000000 %}{% for a in range(9999) %}{% if 'y' in s %}{% endif %}{% endfor %}"),
                          ("macros call each other", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
                          ("the template needs more than",
                           "{% set n = namespace(x='xxxxxxxxxxxxxxxx') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}"),
                          ("the template nests lists deeper than",
                           "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% set n.x = [n.x] %}{% endfor %}")):
        b.expect(f"a template that {pattern}", RESOURCES, pattern, "chat-render", hf, b.work / "talk.json", "--chat-template",
                 b.template(text))


def internal(b):
    b.compile("a bug of the executor", INTERNAL, "executor: a test's bug", b.work / "hf", "--corpus", b.work / "corpus",
              "--small-corpus", "--passes", "builtin.module(insert-score{tokens=500},run-data-work)",
              before=f"export RETORT_TORCH_LIBRARY={b.broken_executor};")


def device(b):
    """A simulated GPU, lost while it works."""
    with_nvcc = f"export CUDACXX={FAKE_NVCC};"
    b.compile("a bundle for a GPU", OK, "", b.work / "hf", "--recipe", "int4", "--target", "cuda:sm_80", before=with_nvcc)
    b.out.rename(b.work / "cuda.retort")
    for command in ("run", "bench"):
        options = ("-p", "The file", "-n", "1") if command == "run" else ()
        b.expect(f"{command} on a GPU that is lost", DEVICE, "what the session held is lost", command, b.work / "cuda.retort",
                 "--device", "sim", *options, before="export RETORT_SIM_LOSE_DEVICE=0;")


def io(b):
    adapter = b.work / "half an adapter"
    adapter.mkdir()
    b.compile("an adapter without a configuration", IO, "has no adapter_config.json: give", b.work / "hf", "--adapter", adapter)
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    b.compile("an adapter without weights", IO, "has no adapter_model.safetensors: save", b.work / "hf", "--adapter", adapter)
    b.expect("a task that is a folder", IO, "is a folder", "eval", b.work / "good.retort", "--task", b.work / "corpus")
    b.expect("a task that is not there", IO, "none.jsonl: the task cannot be read", "eval", b.work / "good.retort", "--task",
             b.work / "none there" / "none.jsonl")
    b.expect("a bundle that is a device", IO, "is not a regular file", "run", "/dev/null", "-p", "x")
    b.expect("a corpus that is a device", IO, "is neither a file nor a folder: name files", "corpus", "/dev/null")
    b.compile("a library that is no executor", IO, "it is not Retort's executor", b.work / "hf", "--corpus", b.work / "corpus",
              "--small-corpus", "--passes", "builtin.module(insert-score{tokens=500},run-data-work)",
              before="export RETORT_TORCH_LIBRARY=libm.so.6;")
    b.compile("an executor that is not there", IO, "cannot be loaded", b.work / "hf", "--corpus", b.work / "corpus", "--small-corpus",
              "--passes", "builtin.module(insert-score{tokens=500},run-data-work)",
              before="export RETORT_TORCH_LIBRARY=/nonexistent;")
    empty = b.work / "empty"
    empty.mkdir()
    shutil.copy(b.work / "hf" / "config.json", empty)
    b.compile("a folder without weights", IO, "has neither model.safetensors nor", empty, "--recipe", "int8")
    b.expect("a bundle that is not there", IO, "No such file", "run", b.work / "none", "-p", "x")
    b.compile("a TMPDIR that is not there", IO, "TMPDIR", b.work / "hf", "--recipe", "int8",
              before="export TMPDIR=/nonexistent;")
    b.compile("a workspace that cannot be made", IO, "--workspace", b.work / "hf", "--recipe", "int8",
              "--workspace", "/proc/nothing")


def gates(b):
    b.compile("a gate that fails", GATE, "no bundle is written", b.work / "hf", "--recipe", "int8", "--corpus",
              b.work / "corpus", "--small-corpus", "--gate", "bits_per_byte <= 0.001")


def interrupted(b):
    """SIGINT and SIGTERM end every command with the same code, and leave nothing under the output."""
    fifo = b.work / "fifo"
    os.mkfifo(fifo)
    for name in (signal.SIGINT, signal.SIGTERM):
        for arguments, wait in (
                (["bench", b.work / "good.retort", "--generate", "500", "--repeat", "1000"], 1),
                (["run", b.work / "good.retort", "-p", "x", "-n", "100000000", "--stop", "never there"], 0),
                (["compile", b.work / "hf", "-o", b.out, "--corpus", b.work / "corpus", "--small-corpus"], 2)):
            environment = dict(os.environ, RETORT_WORKSPACE=str(b.work / "workspace-signals"))
            process = subprocess.Popen([b.retort, *map(str, arguments)], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=environment)
            if wait:
                time.sleep(wait)
            else:  # once it generates
                process.stdout.read(1)
            process.send_signal(name)
            errors = process.communicate(timeout=60)[1].decode(errors="replace")
            b.seen.add(process.returncode)
            b.lines.append((process.returncode, errors))
            # A short answer may have ended before the signal.
            good = (INTERRUPTED, OK) if arguments[0] == "run" else (INTERRUPTED,)
            if process.returncode not in good or b.out.exists():
                b.failures += 1
                print(f"FAILED: {name.name} to {arguments[0]}: exit code {process.returncode}")


def the_lists_agree(b):
    page = (ROOT / "docs/errors.md").read_text()
    documented = {int(c): n for c, n in re.findall(r"^\| (\d+) \| ([a-zA-Z/ ]+) \|", page, re.MULTILINE)}
    enum = re.search(r"enum class ExitCode : int \{(.*?)\};", (ROOT / "runtime/base/Error.h").read_text(), re.S)
    raised = {int(v) for v in re.findall(r"\w+\s*=\s*(\d+)", enum[1])}
    helped = b.run("--help").stdout.split("exit codes:")[1]
    shown = {int(c) for c in re.findall(r"(\d+) [a-zI]", helped)}
    if not set(documented) == raised == shown:
        b.failures += 1
        print("FAILED: lists of codes differ:", sorted(documented), sorted(raised), sorted(shown))
    if b.seen != raised:
        b.failures += 1
        print("FAILED: no failure of the table has the codes", raised - b.seen)


def every_place_is_known(b):
    used = set()
    for path, line, codes, said in fail_sites.unknown(b.lines):
        known = [words for words in UNREACHED if any(words in f"{path}: {fragment}" for fragment in said)]
        used.update(known)
        if not known:
            b.failures += 1
            print(f"FAILED: {path}:{line}: no test makes this fail, or names it: {codes} {said}")
    reached = sorted(words for words in set(UNREACHED) - used if "chance" not in UNREACHED[words])
    if reached:
        b.failures += 1
        print("FAILED: places that a test reaches, or that are gone:", reached)


def main():
    with tempfile.TemporaryDirectory(prefix="retort-codes-") as folder:
        b = Bench(*sys.argv[1:5], pathlib.Path(folder))
        for part in (good, usage, numbers_that_are_none, bad_input, failing_files.checkpoints, failing_files.tokenizers, failing_files.bundles, failing_files.conversations, unsupported, resources, internal, device, failing_system.drivers,
                     failing_system.calls, failing_system.installations, failing_system.servers, io, gates,
                     interrupted, the_lists_agree, every_place_is_known):
            if len(sys.argv) < 6 or part is good or part.__name__ in sys.argv[5:]:
                print(part.__name__, flush=True)
                part(b)
        print(f"{b.failures} failures")
        sys.exit(b.failures != 0)


if __name__ == "__main__":
    main()
