# A model cut over two simulated devices, against the same on one. Needs nvcc to compile, no GPU.
# SPDX-License-Identifier: Apache-2.0
"""test_two_devices.py RETORT [TEACHER]

Compiles a tiny random teacher (or TEACHER) for one device and for two, and compares greedy text, for both forms, with
peer access and without, with the simulator's checks on for the tiny one. The two-device program is compiled for all
architectures. Each device moves at most 0.52 of the weight
bytes of a decoding step. Exit code 77, which ctest takes for skipped, if there is no nvcc.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tiny
from thorough import often

RETORT = sys.argv[1]
MOST_SHARE = 0.52
# One of each kind of product, as in test/unit/CudaKernels/CMakeLists.txt.
ARCHES = often(["sm_80", "sm_90", "sm_120"], ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"])
PROMPT, TOKENS = "NAME\n       opens", 12


def has_nvcc():
    return (os.environ.get("CUDACXX") or shutil.which("nvcc")
            or pathlib.Path("/usr/local/cuda/bin/nvcc").exists())


def compile_bundle(teacher, out, *more, arches=("sm_90",)):
    """`retort compile` itself refuses a kernel that spills or that a multiprocessor has no room for."""
    subprocess.run([RETORT, "compile", teacher, "--recipe", "int4", "--target", "cuda:" + ",".join(arches), "-q", "-o",
                    f"{out}/", *more], check=True, cwd=out.parent)


def greedy(bundle, device, **settings):
    environment = dict(os.environ, **{f"RETORT_SIM_{name}": str(value) for name, value in settings.items()})
    done = subprocess.run([RETORT, "run", bundle, "--device", device, "-p", PROMPT, "-n", str(TOKENS),
                           "--temperature", "0"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weight_bytes(bundle):
    """Of a decoding step, for each device: all packed matrices but the embedding's table."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    result = {}
    for param in manifest["params"]:
        if param["name"] != "token_embd.weight" or len(
                [p for p in manifest["params"] if p["part"] == param["part"] and p["name"] == "output.weight"]) == 0:
            result[param["part"]] = result.get(param["part"], 0) + param["bytes"]
    return result, manifest


def check(teacher, folder, settings):
    compile_bundle(teacher, folder / "one")
    compile_bundle(teacher, folder / "two", "--devices", "2", arches=ARCHES)
    whole, _ = weight_bytes(folder / "one")
    parts, manifest = weight_bytes(folder / "two")
    assert set(parts) == {"weights.cuda0.bin", "weights.cuda1.bin"}, parts
    for part, count in parts.items():
        share = count / whole["weights.cuda.bin"]
        print(f"{part}: {share:.3f} of the weights of a step")
        assert share <= MOST_SHARE, (part, share)
    for step in ("decode", "prefill"):
        entries = [entry for entry in manifest["entries"] if entry["step"] == step]
        assert [entry["device"] for entry in entries] == [0, 1] and all(e["devices"] == 2 for e in entries)
        for entry in entries:
            assert [arch.rstrip("a") for arch in entry["arches"]] == ARCHES and entry["threads"] >= 256, entry
        assert entries[0]["logits"]["count"] == entries[1]["logits"]["begin"]
        assert sum(entry["logits"]["count"] for entry in entries) == manifest["model"]["vocab"]
    text = greedy(folder / "one", "sim", **settings)
    for more in ({}, {"PEERS": 0}, {"SEED": 3}):
        report = folder / "report.json"
        two = greedy(folder / "two", "sim:2", DEVICES=2, REPORT=report, **settings, **more)
        assert two == text, (more, text, two)
        if settings:
            findings = json.loads(report.read_text())["findings"]
            assert not findings, findings
    print(f"the same {TOKENS} tokens: {text[-60:]!r}")


def main():
    if not has_nvcc():
        print("skipped: there is no nvcc in CUDACXX, on the PATH or in /usr/local/cuda")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if len(sys.argv) > 2:
            check(pathlib.Path(sys.argv[2]).resolve(), folder, {})
            return
        tiny.write_all(folder)
        check(folder / "teacher.gguf", folder, {"CHECK": 1})
        compile_bundle(folder / "teacher.gguf", folder / "graph", "--devices", "2", "--form", "graph")
        assert greedy(folder / "graph", "sim:2", DEVICES=2) == greedy(folder / "one", "sim")


main()
