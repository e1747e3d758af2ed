# SmolLM2 int4 compiled for GPUs: what nvcc made, looked at with NVIDIA's own tools. Needs no GPU.
# SPDX-License-Identifier: Apache-2.0
"""test_cuda_compile.py RETORT TEACHER

1. `--target cuda:sm_80,sm_90` makes a bundle with both cubins and PTX of the newest, no kernel uses local
   memory, and 1 CTA of it fits a multiprocessor; a compile takes at most 60 s an architecture.
2. The machine code loads weights 128 bits at a time and multiplies on tensor cores.
3. The same command gives the same bytes; the graph form has a kernel for each of its launches.
4. What cannot be compiled is refused in one line.
Exit code 77, which ctest takes for skipped, if there is no nvcc.
"""
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time

RETORT, TEACHER = sys.argv[1:]
LIMIT_SECONDS = 60
TOOLS = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia/cu13/bin"
# Of a multiprocessor; from sm_90 on cuobjdump counts the 1 KB that the driver keeps for itself.
REGISTERS, MOST_SHARED = 65536, {"sm_80": 163 * 1024, "sm_90a": 228 * 1024}


def has_nvcc():
    return (os.environ.get("CUDACXX") or shutil.which("nvcc")
            or pathlib.Path("/usr/local/cuda/bin/nvcc").exists())


def compile_bundle(out, target, *more, check=True):
    command = [RETORT, "compile", TEACHER, "--recipe", "int4", "--target", target, "-q",
               "-o", f"{out}/", *more]
    return subprocess.run(command, check=check, capture_output=True, text=True)


def cuobjdump(path, *arguments):
    environment = dict(os.environ, PATH=f"{TOOLS}:{os.environ['PATH']}")
    return subprocess.run([TOOLS / "cuobjdump", *arguments, path], check=True, capture_output=True,
                          text=True, env=environment).stdout


def manifest(bundle):
    return json.loads((bundle / "manifest.json").read_text())


def check_resources(bundle):
    """Registers, local and shared memory of every kernel of every cubin."""
    report = cuobjdump(bundle / "program.fatbin", "--dump-resource-usage")
    entries = {kernel["symbol"]: entry for entry in manifest(bundle)["entries"]
               for kernel in entry["kernels"]}
    entries.update({entry["sample"]["symbol"]: entry["sample"] for entry in manifest(bundle)["entries"]})
    seen = set()
    for part in report.split("arch = ")[1:]:
        arch = part.split()[0]
        for name, line in re.findall(r"Function (\w+):\s*\n?\s*(REG:.*)", part):
            used = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", line)}
            assert used["LOCAL"] == 0, f"{name} for {arch} spills: {line}"
            entry = entries[name]
            assert used["REG"] * entry["threads"] <= REGISTERS and entry["threads"] >= 256, line
            dynamic = {own["arch"]: own["bytes"] for own in entry.get("shared_bytes_on", [])}.get(
                arch.rstrip("af"), entry["shared_bytes"])
            assert used["SHARED"] + dynamic <= MOST_SHARED[arch], line
            seen.add((arch, name))
            print(f"  {arch} {name}: {used['REG']} registers, stack {used['STACK']} bytes")
    return seen


def check_code(bundle):
    """Instructions of the kernels, by architecture."""
    counts, arch = {}, None
    for line in cuobjdump(bundle / "program.fatbin", "-sass").splitlines():
        if found := re.search(r"arch = (\w+)", line):
            arch = found[1]
        if found := re.search(r"Function : (\w+)", line):
            kernel = (arch, found[1])
        if found := re.search(r"\*/\s+(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9_.]+)", line):
            counts.setdefault(kernel, {}).setdefault(found[1], 0)
            counts[kernel][found[1]] += 1
    for (arch, kernel), used in counts.items():
        if kernel.endswith("_sample"):
            continue
        products = sum(n for name, n in used.items() if name.startswith(("HMMA.16816", "IMMA.16832")))
        copies = {name: n for name, n in used.items() if name.startswith(("LDGSTS", "UBLKCP"))}
        print(f"  {arch} {kernel}: {products} tensor-core products, {copies}")
        assert products > 0, f"{kernel} for {arch} multiplies without tensor cores"
        assert copies and all(name.startswith("UBLKCP") or name.endswith(".128") for name in copies), \
            f"{kernel} for {arch} loads weights in pieces of less than 128 bits: {copies}"
    assert {arch for arch, _ in counts} == {"sm_80", "sm_90a"}, counts.keys()


def compile_in_time(out, target):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    compile_bundle(out, target)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor, since others may be using this machine: two nvcc run at a time.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{target}: {seconds:.1f} s of the processor, {time.monotonic() - start:.1f} s")
    limit = LIMIT_SECONDS * len(target.split(","))
    assert seconds <= limit, f"compiling for {target} took {seconds:.0f} s"


def check_bundle(bundle):
    described = manifest(bundle)
    assert {"weights.cuda.bin", "program.fatbin", "program.cu", "program.mlir"} <= set(
        described["parts"]) and "program.so" not in described["parts"]
    for entry in described["entries"]:
        assert entry["arches"] == ["sm_80", "sm_90a"] and entry["ptx"] == "compute_90", entry
    assert {entry["step"] for entry in described["entries"]} == {"decode", "prefill"}
    assert "sm_80" in cuobjdump(bundle / "program.fatbin", "--list-elf")
    assert "sm_90.ptx" in cuobjdump(bundle / "program.fatbin", "--list-ptx")
    text = (bundle / "program.cu").read_text()
    assert len(re.findall(r"^struct ", text, re.M)) < 30, "phases of equal shape share no struct"
    run = text.split("namespace decode_step {")[1].split("void run(Cta &cta) {")[1].split("\n}")[0]
    waits = len(re.findall(r"cta\.wait(?:For)?\(", run))
    blocks = described["model"]["blocks"]
    assert waits == 5 * blocks + 1, f"{waits} waits for {blocks} blocks and the logits"
    shown = subprocess.run([RETORT, "inspect", bundle, "--phases"], check=True, capture_output=True,
                           text=True).stdout
    assert "norm + matmul_glu" in shown and "cuda decode, persistent" in shown, shown[:500]


def check_graph(folder, first):
    compile_bundle(folder / "graph", "cuda:sm_80", "--form", "graph")
    symbols = set(re.findall(r"\.entry (\w+)", cuobjdump(folder / "graph/program.fatbin", "-ptx")))
    for entry in manifest(folder / "graph")["entries"]:
        launches = entry["kernels"]
        assert {launch["symbol"] for launch in launches} <= symbols
        assert [launch["phase"] for launch in launches] == list(range(len(launches)))
        print(f"graph, {entry['step']}: {len(launches)} launches")
    weights = [(bundle / "weights.cuda.bin").read_bytes() for bundle in (folder / "graph", first)]
    assert weights[0] == weights[1], "the form changes the weights"


def check_refusals(folder):
    for target, more, code, words in [
            ("cuda:sm_75", [], 4, "7.5"), ("cuda", [], 2, "name the architectures"),
            ("cuda:sm_80", ["--devices", "3"], 2, "write 1 or 2"), ("cpu", ["--form", "graph"], 2, "GPUs"),
            ("cuda:sm_999", [], 4, "CUDA Toolkit")]:
        done = compile_bundle(folder / "refused", target, *more, check=False)
        line = done.stderr.strip()
        assert done.returncode == code and words in line and "\n" not in line, (target, line)
        assert not (folder / "refused").exists()
    done = subprocess.run([RETORT, "compile", TEACHER, "--target", "cuda:sm_80", "-q", "-o",
                           folder / "refused"], capture_output=True, text=True,
                          env=dict(os.environ, CUDACXX="/none/nvcc"))
    assert done.returncode == 4 and "CUDACXX" in done.stderr, done.stderr


def main():
    if not has_nvcc():
        print("skipped: there is no nvcc in CUDACXX, on the PATH or in /usr/local/cuda")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_refusals(folder)
        compile_in_time(folder / "first", "cuda:sm_80,sm_90")
        compile_bundle(folder / "again", "cuda:sm_90,sm_80")
        for part in ("program.cu", "program.fatbin", "weights.cuda.bin", "program.mlir", "manifest.json"):
            assert (folder / "first" / part).read_bytes() == (folder / "again" / part).read_bytes(), \
                f"the same command gave another {part}"
        check_bundle(folder / "first")
        assert len(check_resources(folder / "first")) == 8  # decode, prefill, and what draws, twice
        check_code(folder / "first")
        check_graph(folder, folder / "first")


main()
