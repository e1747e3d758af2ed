#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a workspace holds, and what it does not, never changes a bundle.

    test_workspace.py RETORT

1. The bytes of a bundle of each recipe, also of one that trains, depend neither on the number of threads
   nor on where the recipe's file and the command lie.
2. A file of each kind that a workspace holds has a bit flipped, is emptied, cut or removed (one of them all of
   these, the others one each, in turn). The next compile says so, makes the file again and writes the same bundle.
3. The same with the checkpoint of a training that was interrupted, and with files that no compile wrote.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from test_resume import reaches, small_recipe

failures = 0


def expect(condition, message):
    global failures
    if not condition:
        failures += 1
        print("FAILED: " + message, flush=True)


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]


DAMAGES = {"flipped": flip, "emptied": lambda data: b"", "cut": lambda data: data[:len(data) * 2 // 3],
           "of NULs": lambda data: bytes(len(data)), "removed": None}


def damage(path, how):
    if DAMAGES[how] is None:
        path.unlink()
    else:
        path.write_bytes(DAMAGES[how](path.read_bytes()))


class Bench:
    def __init__(self, retort, work):
        self.retort, self.work = pathlib.Path(retort).resolve(), work
        tiny.write_all(work)
        small_recipe(argparse.Namespace(retort=retort, tokens=3000), work)
        task = [json.dumps({"prompt": f"The {noun}", "choices": [" opens", " closes"], "answer": 0})
                for noun in tiny.NOUNS[:4]]
        (work / "task.jsonl").write_text("\n".join(task) + "\n")

    def command(self, workspace, out, *options):
        return [str(part) for part in
                (self.retort, "compile", self.work / "hf", "--workspace", workspace, "-o", out, "--force", "--target",
                 tiny.HOST_TARGET, *options)]

    def specialist(self, workspace, out, *options):
        return self.command(workspace, out, "--corpus", self.work / "corpus", "--small-corpus", "--recipe",
                            self.work / "small.pipeline", "--gate", f"task:{self.work / 'task.jsonl'} acc >= 0.01 * teacher",
                            "--threads", 1, *options)

    def run(self, what, command, code=0, cwd=None):
        process = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=cwd, timeout=600)
        expect(process.returncode == code, f"{what}: exit code {process.returncode}: {process.stderr[-400:]!r}")
        return process.stderr


def check_bytes(b):
    """Threads and places."""
    small = b.work / "small.pipeline"
    for recipe in ("none", "int8", "int4", "fp8", small):
        bundles = set()
        for threads in (1, 3):
            folder = b.work / f"place{threads}"
            folder.mkdir(exist_ok=True)
            options = ["--threads", threads, "--recipe", recipe]
            if recipe == small:
                shutil.copy(small, folder / small.name)
                options = ["--threads", threads, "--recipe", folder / small.name, "--corpus", b.work / "corpus", "--small-corpus"]
            out = folder / "out.retort"
            b.run(f"{recipe} on {threads} threads", b.command(folder / "workspace", out, *options), cwd=folder)
            bundles.add(out.read_bytes())
        expect(len(bundles) == 1, f"{recipe}: bundles of 1 and of 3 threads, from two folders, differ")


def kind(path):
    """What a file of the workspace is."""
    if path.parent.name == "sums":
        return "the sum of " + kind(path.parents[1] / "objects" / path.name)
    if path.suffix == ".safetensors":
        return "weights of a training" if b"training.curve" in path.read_bytes()[:100000] else "weights of a fit"
    if path.suffix != ".json" or ".report" in path.name:
        return path.name.split(".", 1)[1]
    content = json.loads(path.read_bytes())
    if "acc" in content:
        return "answers to a task"
    if "bits_per_byte" in content:
        return "a score"
    return "counts of tokens" if "vocabulary" in content else "statistics of activations"


def kinds(workspace):
    """A file of each kind; of an observation that a plan stood in for, none is read again."""
    found = {}
    for folder in ("objects", "sums"):
        for path in sorted((workspace / folder).iterdir()):
            found.setdefault(kind(path), path)
    return found


def check_kinds(b):
    whole, out = b.work / "whole.workspace", b.work / "out.retort"
    b.run("the undisturbed compile", b.specialist(whole, out))
    bundle = out.read_bytes()
    # What is read again: a plan's stand-ins are written whenever there is no observation.
    b.run("what a plan stands in for", b.specialist(b.work / "plan.workspace", out, "--dry-run"))
    plan = b.work / "plan.workspace"
    for path in [p for p in plan.glob("*/*") if kind(p).endswith("statistics of activations")]:
        stand_in = whole / path.relative_to(plan)
        if stand_in.exists() and stand_in.read_bytes() == path.read_bytes():
            stand_in.unlink()
    known = kinds(whole)
    named = {"weights of a training", "weights of a fit", "answers to a task", "a score", "counts of tokens",
             "statistics of activations", "sha256", "jsonl"}
    expect(set(known) == named | {"the sum of " + name for name in named}, f"kinds of files: {sorted(known)}")
    # All kinds of damage to one kind of file, and to each other kind one in turn.
    every = "weights of a training"
    for i, (name, path) in enumerate(sorted(known.items())):
        for how in DAMAGES if name == every else [list(DAMAGES)[i % len(DAMAGES)]]:
            shutil.rmtree(b.work / "damaged", ignore_errors=True)
            shutil.copytree(whole, b.work / "damaged")
            victim = b.work / "damaged" / path.relative_to(whole)
            damage(victim, how)
            out.unlink(missing_ok=True)
            stderr = b.run(f"{name} {how}", b.specialist(b.work / "damaged", out))
            # The command line brings a task, so that none is read that it has not just written.
            notes = [l for l in stderr.splitlines() if l.startswith("retort: note:") and victim.stem in l]
            expect(len(notes) == ("jsonl" not in name), f"{name} {how}: notes {notes}")
            expect(out.exists() and out.read_bytes() == bundle, f"{name} {how}: the bundle differs")
            expect(victim.exists() and victim.read_bytes() == path.read_bytes(), f"{name} {how}: was not made again")


def check_partial(b):
    """Checkpoints, and what is not a workspace's."""
    whole, out = b.work / "partial.workspace", b.work / "out.retort"
    bundle = b.work / "whole.retort"
    b.run("the whole compile", b.specialist(b.work / "whole.workspace", bundle))
    process = subprocess.Popen(b.specialist(whole, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    reaches(process, "distil the student")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    checkpoints = [p for p in (whole / "partial").iterdir()]
    expect(process.returncode == 130 and len(checkpoints) == 1, f"checkpoints: {checkpoints}")
    for how in (*DAMAGES, "whole"):
        shutil.rmtree(b.work / "damaged", ignore_errors=True)
        shutil.copytree(whole, b.work / "damaged")
        for path in (b.work / "damaged" / "partial").iterdir():
            if how in DAMAGES:
                damage(path, how)
        # A lock that somebody left, and a file that was being written when its process was killed.
        (b.work / "damaged" / "locks" / checkpoints[0].name).write_bytes(b"\0" * 10)
        (b.work / "damaged" / "objects" / (checkpoints[0].name + ".safetensors.tmp1")).write_bytes(b"half")
        stderr = b.run(f"a checkpoint {how}", b.specialist(b.work / "damaged", out))
        noted = "this checkpoint is damaged" in stderr
        expect(noted == (how not in ("whole", "removed")), f"a checkpoint {how}: {stderr[-600:]!r}")
        expect(out.read_bytes() == bundle.read_bytes(), f"a checkpoint {how}: the bundle differs")


def check_folders(b):
    """A workspace that is no folder, or has files where folders belong, is refused in a line."""
    for part in ("", "objects", "sums", "partial", "locks"):
        workspace = b.work / f"odd-{part}.workspace"
        if part:
            workspace.mkdir()
        (workspace / part if part else workspace).write_text("a file\n")
        out = b.work / "odd.retort"
        stderr = b.run(f"a file for {part or 'the workspace'}", b.command(workspace, out, "--recipe", "int8"), code=6)
        lines = [l for l in stderr.splitlines() if l.startswith("retort: ")]
        expect(len(lines) == 1 and "--workspace" in lines[0] and not out.exists(), f"a file for {part}: {stderr!r}")


def main():
    with tempfile.TemporaryDirectory(prefix="retort-workspace-") as folder:
        b = Bench(sys.argv[1], pathlib.Path(folder))
        for check in (check_bytes, check_kinds, check_partial, check_folders):
            if len(sys.argv) < 3 or check.__name__ in sys.argv[2:]:
                print(check.__name__, flush=True)
                check(b)
    print(f"{failures} failures")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
