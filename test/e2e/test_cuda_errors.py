# What `retort run` and `retort bench` say when a GPU cannot run a bundle.
# SPDX-License-Identifier: Apache-2.0
"""test_cuda_errors.py RETORT

Each is one line on stderr, with the numbers and what to do, and an exit code of docs/errors.md; and
it comes before anything runs. GPUs that are not there: test/unit/Runtime/CudaDriverTest.cpp.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from bundles import retort

RETORT = sys.argv[1]
OK, USAGE, UNSUPPORTED, RESOURCES, DEVICE = 0, 2, 4, 5, 7


def refused(code, words, *arguments, **environment):
    done = retort(RETORT, *arguments, check=False, **environment)
    lines = done.stderr.strip().splitlines()
    line = "\n".join(text for text in lines if not text.startswith("retort: note: on sim"))
    assert done.returncode == code, (done.returncode, line, arguments, environment)
    assert "\n" not in line and line.startswith("retort: "), line
    assert all(word in line for word in words), (words, line)
    print(f"{code}: {line}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tiny.write_all(folder / "tiny")
        bundle, cpu = folder / "a.retort", folder / "cpu.retort"
        for path, target in ((bundle, "cuda:sm_80"), (cpu, "cpu")):
            retort(RETORT, "compile", folder / "tiny/teacher.gguf", "--recipe", "int4", "--target", target,
                   "-q", "-o", path)
        prompt = ("-p", "The file", "-n", "1")
        if not os.path.exists("/dev/nvidiactl"):
            refused(UNSUPPORTED, ["driver"], "run", bundle, "--device", "cuda", *prompt)
            refused(UNSUPPORTED, ["driver"], "bench", bundle, "--device", "cuda")
            refused(UNSUPPORTED, ["cpu"], "run", bundle, *prompt)
        refused(UNSUPPORTED, ["cuda"], "run", cpu, "--device", "sim", *prompt)
        for command in (("run", bundle, *prompt), ("bench", bundle)):
            on = (*command, "--device")
            refused(UNSUPPORTED, ["sm_75", "sm_80"], *on, "sim", RETORT_SIM_ARCH="75")
            refused(RESOURCES, ["free", "needs"], *on, "sim", RETORT_SIM_MEMORY="300000")
            refused(USAGE, ["'gpu'"], *on, "gpu")
            refused(DEVICE, ["sim"], *on, "sim", RETORT_SIM_LOSE_DEVICE="0")
        # The context, before anything is loaded: with the counts.
        refused(USAGE, ["5000", "1024"], "bench", bundle, "--device", "sim", "--context", "5000")
        refused(RESOURCES, ["1024"], "run", bundle, "--device", "sim", "-p", "file " * 3000, "-n", "1")
        # A cache that is too large is refused with one that fits.
        refused(RESOURCES, ["64 slots", "max_context"], "bench", bundle, "--device", "sim", "--rows", "64",
                "--context", "1000", RETORT_SIM_MEMORY=str(8 << 20))
        done = retort(RETORT, "bench", bundle, "--device", "sim", "--rows", "3", "--context", "20", "--json")
        timed = json.loads(done.stdout)
        assert timed["rows"] == 3 and timed["context"] == 20 and timed["device"].startswith("sim:0"), timed


main()
