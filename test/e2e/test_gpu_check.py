# scripts/gpu-check where there is no GPU, and its whole way on the simulated one.
# SPDX-License-Identifier: Apache-2.0
"""test_gpu_check.py GPU_CHECK BUILD

1. Without a GPU: one line, exit code 4, nothing written.
2. --simulate: tests, logits, decoding and prefill of a tiny model in both forms on one GPU and on two; the
   report has a row for each and the table shows them; exit code 0.
3. A failure (a limit that logits cannot keep) is in the report and the exit code is 1.
4. A part asks only for the files that it runs; a part that does not exist is refused.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from thorough import often

GPU_CHECK, BUILD = sys.argv[1:]
# One product test is enough here: they all run as unit tests.
RECIPES = often(["int4"], ["int4", "bf16"])
PROGRAMS = len(RECIPES) * 4  # two forms, on one GPU and on two
SIMULATE = ["--recipes", ",".join(RECIPES), "--simulate", "--kernel-tests", "Rows.EmbeddingIsExact"]


def gpu_check(folder, *arguments):
    return subprocess.run([sys.executable, GPU_CHECK, "--build", BUILD, "--out", folder, *arguments],
                          capture_output=True, text=True)


def check_without_gpu(folder):
    if os.path.exists("/dev/nvidiactl"):
        print("there is a GPU: the refusal without one is not tested")
        return
    done = gpu_check(folder / "none")
    line = done.stderr.strip()
    assert done.returncode == 4 and "\n" not in line and "no GPU" in line, (done, line)
    assert not done.stdout and not (folder / "none").exists()


def check_report(folder):
    done = gpu_check(folder, *SIMULATE)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    report = json.loads((folder / "gpu-report.json").read_text())
    assert report["simulated"] and report["gpus"][0]["multiprocessors"] > 0 and not report["failures"]
    assert [row["passed"] for row in report["tests"][:3]] == [True] * 3, report["tests"]
    forms = {"persistent", "graph"}
    assert report["peer_access"] and len(report["gpus"]) == 2 and report["made"]["retort"].startswith("retort ")
    assert len(report["logits"]) == PROGRAMS and all(row["passed"] and row["same_bits_again"] for row in report["logits"])
    decode = {(row["recipe"], row["form"], row["devices"], row["rows"], row["context"]) for row in report["decode"]}
    assert decode == {(recipe, form, devices, rows, context) for recipe in RECIPES for form in forms
                      for devices in (1, 2) for rows in (1, 2) for context in (16, 40)}
    assert {row["device"].count("sim:") for row in report["decode"] if row["devices"] == 2} == {2}, \
        report["decode"][-1]["device"]
    for row in report["decode"]:
        assert row["step_ms"] > 0 and row["weight_bytes"] > 0 and "note" not in row, row
        assert 0 < row["predicted_ms"] < 1, row
    by_rows = {(row["recipe"], row["form"], row["context"], row["rows"]): row for row in report["decode"]
               if row["devices"] == 1}
    one, two = (by_rows["int4", "graph", 40, rows] for rows in (1, 2))
    assert one["cache_bytes"] == 40 * by_rows["int4", "graph", 16, 1]["cache_bytes"] // 16
    assert two["cache_bytes"] == 2 * one["cache_bytes"] and two["weight_bytes"] == one["weight_bytes"]
    assert {row["prompt"] for row in report["prefill"]} == {20} and len(report["prefill"]) == PROGRAMS
    assert {row["engine"] for row in report["others"]} == {"llama.cpp", "vLLM"}
    shown = (folder / "gpu-report.md").read_text()
    assert shown.strip() == done.stdout.strip() and "mean nothing" in shown and "Nothing failed." in shown
    print(shown)


def check_failure(folder):
    done = gpu_check(folder, *SIMULATE, "--only", "logits", "--limit", "1e-9")
    report = json.loads((folder / "gpu-report.json").read_text())
    assert done.returncode == 1 and len(report["failures"]) == PROGRAMS, (done.returncode, report["failures"])
    assert "FAILED logits: tiny int4 persistent on 1: differ by" in done.stdout, done.stdout


def check_nothing_measured(folder):
    """A `retort` that cannot compile is a failure, and not a table of notes."""
    build = folder / "build"
    (build / "bin").mkdir(parents=True)
    for name in ("lib", "bin/executor-tool", "bin/CudaKernelsTest", "venv"):
        os.symlink(pathlib.Path(BUILD) / name, build / name)
    (build / "bin/retort").write_text("#!/bin/sh\necho 'retort: something is wrong' >&2\nexit 9\n")
    (build / "bin/retort").chmod(0o755)
    done = subprocess.run([sys.executable, GPU_CHECK, "--build", build, "--out", folder / "out", *SIMULATE, "--only", "speed"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "FAILED speed: nothing could be measured" in done.stdout, done.stdout + done.stderr
    assert "FAILED compile tiny-int4-persistent-1" in done.stdout and "retort: something is wrong" in done.stdout


def check_what_is_needed(folder):
    """A part asks for the files that it runs and for no others; a part that does not exist is refused."""
    build = folder / "build"
    (build / "bin").mkdir(parents=True)
    for name in ("lib", "venv"):
        os.symlink(pathlib.Path(BUILD) / name, build / name)
    (build / "bin/retort").write_text("#!/bin/sh\necho 'retort: something is wrong' >&2\nexit 9\n")
    (build / "bin/retort").chmod(0o755)

    def only(part):
        return subprocess.run([sys.executable, GPU_CHECK, "--build", build, "--out", folder / "out", *SIMULATE, "--only", part],
                              capture_output=True, text=True)
    speed, logits, unknown = only("speed"), only("logits"), only("speed,sped")
    assert speed.returncode == 1 and "compile tiny-int4-persistent-1" in speed.stdout, speed
    assert logits.returncode == 4 and "bin/executor-tool is not there" in logits.stderr, logits
    assert unknown.returncode == 2 and "--only: sped: there are tests, logits" in unknown.stderr, unknown


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_without_gpu(folder)
        check_report(folder / "check")
        check_failure(folder / "check")
        check_nothing_measured(folder / "broken")
        check_what_is_needed(folder / "partial")


main()
