#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles resources.cu with nvcc and reads ptxas's report, in which no kernel may spill, and the machine code: weights
come 128 bits at a time or in bulk, products are tensor cores'.

Usage: resources.py ROOT ARCH[,ARCH]... [ARCH[,ARCH]...]: the second list is for thorough tests. Exits with 77, which ctest takes for skipped, if there is no nvcc. That a kernel of 256
threads is resident follows from its compiling: its launch bounds hold it to 255 registers. The machine code is looked at
if there is a cuobjdump: of the Python that runs this (scripts/requirements.txt), or on the PATH.
"""
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "e2e"))
from thorough import often


def find_nvcc():
    for path in (os.environ.get("CUDACXX"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if path and os.access(path, os.X_OK):
            return path
    return None


def find_tools():
    """The folder with cuobjdump, and nvdisasm, which it calls; None if there is none."""
    installed = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia/cu13/bin"
    if (installed / "cuobjdump").exists():
        return installed
    found = shutil.which("cuobjdump")
    return pathlib.Path(found).parent if found and shutil.which("nvdisasm") else None


def instructions(tools, cubin):
    """Of each kernel, how often it has which instruction."""
    environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}")
    text = subprocess.run([tools / "cuobjdump", "-sass", cubin], check=True, capture_output=True, text=True,
                          env=environment).stdout
    counts, kernel = collections.defaultdict(collections.Counter), ""
    for line in text.splitlines():
        if found := re.search(r"Function : (\w+)", line):
            kernel = found[1]
        elif found := re.search(r"\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]+)", line):
            counts[kernel][found[1]] += 1
    return counts


def code_problems(arch, counts):
    """f32 weights are for tests: f32 has no tensor-core product of its precision."""
    problems, wgmma = [], arch == "sm_90a"
    for kernel, used in counts.items():
        attends, is_f32 = "_attend_" in kernel, kernel.endswith("_f32")
        decodes, prefills = kernel.startswith("decode_"), kernel.startswith("prefill_")
        if not (decodes or prefills):
            continue
        if not any(name.startswith(("HMMA.16816", "IMMA.16832", "HGMMA.64")) for name in used) and (attends or not is_f32):
            problems.append(f"{arch}: {kernel} multiplies without tensor cores")
        if wgmma and prefills and not attends and not is_f32 and not any(name.startswith("HGMMA") for name in used):
            problems.append(f"{arch}: {kernel} multiplies without wgmma")
        narrow = [name for name in used if name.startswith("LDGSTS") and ".128" not in name]
        if narrow:
            problems.append(f"{arch}: {kernel} copies less than 128 bits at a time: {narrow}")
        bulk = decodes and int(re.sub(r"\D", "", arch)) >= 90
        if not attends and not any(name.startswith("UBLKCP" if bulk else "LDGSTS") for name in used):
            problems.append(f"{arch}: {kernel} streams no weights to shared memory")
    return problems


def check(nvcc, root, arch, tools):
    code = {}
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [nvcc, "-std=c++20", "-O3", f"-arch={arch}", "-cubin", "-Xptxas", "-v", f"-I{root}",
             f"{root}/test/unit/CudaKernels/resources.cu", "-o", f"{folder}/resources.cubin"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if run.returncode == 0 and tools:
            code = instructions(tools, f"{folder}/resources.cubin")
    if run.returncode != 0:
        return [f"{arch}: nvcc fails:\n{run.stdout}"], 0, 0
    function, functions, registers = "", 0, 0
    problems = code_problems(arch, code)
    if tools and len(code) < 30:
        problems.append(f"{arch}: machine code of {len(code)} kernels only")
    for line in run.stdout.splitlines():
        if "warning" in line:
            problems.append(f"{arch}: {line}")
        if match := re.search(r"Function properties for (\S+)", line):
            function, functions = match[1], functions + 1
        if match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if match[1] != "0" or match[2] != "0":
                problems.append(f"{arch}: {function} spills {match[1]} bytes and loads {match[2]}")
        if match := re.search(r"Used (\d+) registers", line):
            registers = max(registers, int(match[1]))
    return problems, functions, registers


def main():
    root, *lists = sys.argv[1:]
    arches = ",".join(often(lists[:1], lists)).split(",")
    nvcc = find_nvcc()
    if not nvcc:
        print("skipped: no nvcc in CUDACXX, PATH or /usr/local/cuda/bin")
        return 77
    tools = find_tools()
    if not tools:
        print("no cuobjdump: the machine code is not looked at")
    failed = False
    with concurrent.futures.ThreadPoolExecutor(2) as pool: # two nvcc at a time
        results = list(pool.map(lambda arch: check(nvcc, root, arch, tools), arches))
    for arch, (problems, functions, registers) in zip(arches, results):
        print(f"{arch}: {functions} functions, at most {registers} registers, {len(problems)} problems")
        print("\n".join(problems))
        failed |= bool(problems) or functions == 0
    return 1 if failed else 0


sys.exit(main())
