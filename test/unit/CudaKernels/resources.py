#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles resources.cu with nvcc and reads ptxas's report: no kernel may spill.

Usage: resources.py ROOT ARCH... . Exits with 77, which ctest takes for skipped, if there is no nvcc. That a kernel of 256
threads is resident follows from its compiling: its launch bounds hold it to 255 registers.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile


def find_nvcc():
    for path in (os.environ.get("CUDACXX"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if path and os.access(path, os.X_OK):
            return path
    return None


def check(nvcc, root, arch):
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [nvcc, "-std=c++20", "-O3", f"-arch={arch}", "-cubin", "-Xptxas", "-v", f"-I{root}",
             f"{root}/test/unit/CudaKernels/resources.cu", "-o", f"{folder}/resources.cubin"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if run.returncode != 0:
        return [f"{arch}: nvcc fails:\n{run.stdout}"], 0, 0
    problems, function, functions, registers = [], "", 0, 0
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
    root, arches = sys.argv[1], sys.argv[2:]
    nvcc = find_nvcc()
    if not nvcc:
        print("skipped: no nvcc in CUDACXX, PATH or /usr/local/cuda/bin")
        return 77
    failed = False
    for arch in arches:
        problems, functions, registers = check(nvcc, root, arch)
        print(f"{arch}: {functions} functions, at most {registers} registers, {len(problems)} problems")
        print("\n".join(problems))
        failed |= bool(problems) or functions == 0
    return 1 if failed else 0


sys.exit(main())
