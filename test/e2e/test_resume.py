#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A compile that is killed, interrupted or runs out of disk keeps what it had done.

    test_resume.py RETORT [--kills N] [--tokens N] [--seed N]

1. A specialist of a tiny teacher is compiled undisturbed.
2. Another, in a workspace of its own, is killed (SIGKILL) at N random moments of its stages and run
   again each time. No output appears before the end, no finished object is lost or made again, and the bundle
   has the same bytes as the undisturbed one. Run again, it takes it all from the workspace.
3. Ctrl-C ends a compile with exit code 130 and one line, and it can go on.
4. On disks that are full or fill (tmpfs; skipped without the right to mount one) the compile ends
   with the documented code and one line, leaves nothing under the output's name, and goes on once
   there is room.
"""
import argparse
import hashlib
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from thorough import often

failures = 0
STAGES = ["read the corpus", "score the teacher", "train the teacher", "observe the teacher",
          "distil the student", "emit code"]


def expect(condition, message):
    global failures
    if not condition:
        failures += 1
        print("FAILED: " + message, flush=True)


def small_recipe(options, work):
    """The specialist's pipeline with less of everything, so that a compile takes seconds."""
    printed = subprocess.run([options.retort, "compile", work / "hf", "--corpus", work / "corpus",
                              "--print-pipeline"], capture_output=True, text=True, check=True).stdout
    tokens = {"insert-tuning": options.tokens // 2, "insert-distillation": options.tokens}
    passes = []
    for part in re.split(r"(?=\b(?:insert|run|prune|apply|derive|quantize|cache)-)", printed):
        count = tokens.get(part.split("{")[0], 2000)
        part = re.sub(r"(?<![-\w])tokens=\d+", f"tokens={count}", part)
        part = part.replace("batch-tokens=2048", "batch-tokens=256")
        passes.append(part.replace("sequence-length=512", "sequence-length=128"))
    recipe = work / "small.pipeline"
    recipe.write_text("".join(passes))
    return recipe


class Compile:
    def __init__(self, options, work, name):
        self.options, self.work = options, work
        self.workspace, self.output = work / f"{name}.workspace", work / f"{name}.retort"

    def start(self):
        command = [self.options.retort, "compile", self.work / "hf", "--corpus",
                   self.work / "corpus", "-o", self.output, "--force", "--small-corpus",
                   "--workspace", self.workspace, "--recipe", self.work / "small.pipeline", "--threads", 1, "--target", tiny.HOST_TARGET]
        return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, errors="replace")

    def finish(self):
        process = self.start()
        _, stderr = process.communicate(timeout=600)
        return process.returncode, stderr

    def objects(self):
        """Finished objects: name -> what must not change. Weights, which take long, are never even
        written again (the inode); small ones may be, with the same content (its hash)."""
        return {p.name: p.stat().st_ino if p.suffix == ".safetensors"
                else hashlib.sha256(p.read_bytes()).hexdigest()
                for p in (self.workspace / "objects").glob("*")
                if not p.name.startswith(".") and ".tmp" not in p.name}

    def digest(self):
        return hashlib.sha256(self.output.read_bytes()).hexdigest()


def reaches(process, stage):
    """Waits until the compile says that it begins `stage` or a later one (stages that are in the
    workspace are not shown). False if it ends before."""
    for line in process.stderr:
        if line.startswith(tuple(STAGES[STAGES.index(stage):])):
            return True
    return False


def stray_outputs(work, name):
    return [p.name for p in work.iterdir() if name + ".retort" in p.name]


def error_lines(stderr):
    return [line for line in stderr.splitlines()
            if line.startswith("retort: ") and not line.startswith("retort: note:")]


def test_kills(options, work):
    whole = Compile(options, work, "whole")
    started = time.time()
    code, stderr = whole.finish()
    seconds = time.time() - started
    if code != 0:
        sys.exit("the undisturbed compile fails:\n" + stderr)
    print(f"undisturbed: {seconds:.1f} s, {len(whole.objects())} objects", flush=True)

    killed = Compile(options, work, "killed")
    rng, known, kills = random.Random(options.seed), {}, 0
    for number in range(options.kills):
        process = killed.start()
        # Ever later stages, so that each kill has something to lose.
        if reaches(process, STAGES[number * len(STAGES) // options.kills]):
            time.sleep(rng.uniform(0, 0.05 * seconds))
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        if process.returncode == 0:
            break
        expect(process.returncode == -signal.SIGKILL, f"exit code {process.returncode} in a run that was to be killed")
        expect(not killed.output.exists(), "an output appeared before the end")
        now = killed.objects()
        lost = {name for name, what in known.items() if now.get(name) != what}
        expect(not lost, f"finished objects were lost or made again: {lost}")
        known = now
    code, stderr = killed.finish()
    expect(code == 0, f"after {kills} kills the compile fails: {stderr[-500:]}")
    if code == 0:
        expect(killed.digest() == whole.digest(), "the bundle differs from the undisturbed one")
        before = killed.objects()
        expect(all(before.get(name) == what for name, what in known.items()),
               "an object was made again")
        expect(set(before) == set(whole.objects()), "the workspaces hold different objects")
        partial = list((killed.workspace / "partial").glob("*"))
        expect(not partial, f"training checkpoints were left: {partial}")
        started = time.time()
        code, _ = killed.finish()
        again = time.time() - started
        expect(code == 0 and killed.objects() == before, "a second compile worked on data again")
        print(f"killed {kills} times; again from the workspace: {again:.1f} s", flush=True)


def test_interrupt(options, work):
    compile_ = Compile(options, work, "interrupted")
    process = compile_.start()
    reaches(process, "distil the student")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    expect(process.returncode == 130, f"Ctrl-C: exit code {process.returncode}: {stderr[-300:]}")
    expect(len(error_lines(stderr)) <= 1, "Ctrl-C: more than one line")
    expect(not stray_outputs(work, "interrupted"), "Ctrl-C left " + str(stray_outputs(work, "interrupted")))
    code, stderr = compile_.finish()
    expect(code == 0, f"after Ctrl-C the compile fails: {stderr[-300:]}")
    print("interrupted: goes on", flush=True)


class SmallDisk:
    """A tmpfs of some bytes; `ok` is false where it may not be mounted."""

    def __init__(self, path, size):
        self.path = path
        path.mkdir()
        self.ok = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)],
                                 capture_output=True).returncode == 0

    def fill(self):
        with open(self.path / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.ok:
            subprocess.run(["umount", "-l", str(self.path)], check=False)


def judge_full(what, process, stderr, folder, keep=()):
    expect(process.returncode in (5, 6), f"{what}: exit code {process.returncode}: {stderr[-300:]}")
    expect(len(error_lines(stderr)) == 1, f"{what}: not one line: {stderr[-500:]}")
    left = [p.name for p in folder.iterdir() if p.name not in ("filler", *keep)]
    expect(not left, f"{what}: left {left}")


def test_full_disk(options, work):
    with SmallDisk(work / "small", "512k") as disk:
        if not disk.ok:
            print("skipped: a tmpfs cannot be mounted here")
            return
        compile_ = Compile(options, work, "nodisk")
        compile_.output = disk.path / "out.retort"
        process = compile_.start()
        _, stderr = process.communicate(timeout=600)
        judge_full("an output on a small disk", process, stderr, disk.path)

    # The disk has room when the compile is planned and none when it writes.
    with SmallDisk(work / "filling", "200m") as disk:
        compile_ = Compile(options, work, "filling")
        compile_.output = disk.path / "out.retort"
        process = compile_.start()
        reaches(process, "distil the student")
        disk.fill()
        _, stderr = process.communicate(timeout=600)
        judge_full("a disk that fills before the bundle", process, stderr, disk.path)
        objects = compile_.objects()
        (disk.path / "filler").unlink()
        code, stderr = compile_.finish()
        expect(code == 0, f"with room again the compile fails: {stderr[-300:]}")
        expect(all(compile_.objects().get(n) == w for n, w in objects.items()),
               "what was computed before the disk filled was made again")

    with SmallDisk(work / "workspace-disk", "200m") as disk:
        compile_ = Compile(options, work, "spacefull")
        compile_.workspace = disk.path / "workspace"
        process = compile_.start()
        reaches(process, "train the teacher")
        disk.fill()
        _, stderr = process.communicate(timeout=600)
        judge_full("a workspace's disk that fills", process, stderr, disk.path, keep=("workspace",))
        expect(not stray_outputs(work, "spacefull"), "an output appeared though the workspace was full")
        (disk.path / "filler").unlink()
        code, stderr = compile_.finish()
        expect(code == 0, f"with room in the workspace the compile fails: {stderr[-300:]}")
    print("full disks: one line, nothing half-written, goes on", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("retort")
    parser.add_argument("--kills", type=int, default=often(6, 40))
    parser.add_argument("--tokens", type=int, default=often(3000, 8000))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="retort-resume-") as folder:
        work = pathlib.Path(folder)
        tiny.write_all(work)
        small_recipe(options, work)
        test_kills(options, work)
        test_interrupt(options, work)
        test_full_disk(options, work)
    print(f"{failures} failures")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
