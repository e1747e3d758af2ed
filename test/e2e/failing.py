# Failures of whole commands, each judged by its code and its line.
# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import shutil
import subprocess

import tiny

OK, INTERNAL, USAGE, BAD_INPUT, UNSUPPORTED, RESOURCES, IO, DEVICE, GATE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 130


class Bench:
    def __init__(self, retort, broken_executor, failing_calls, failing_driver, work):
        self.retort, self.broken_executor, self.work, self.failures = retort, broken_executor, work, 0
        self.failing_calls, self.failing_driver = failing_calls, failing_driver
        self.seen, self.lines = set(), []
        tiny.write_all(work)
        self.out = work / "out.retort"

    def run(self, *arguments, before="", stdin=""):
        environment = dict(os.environ, RETORT_WORKSPACE=str(self.work / "workspace"))
        return subprocess.run(["bash", "-c", f'{before} exec "$0" "$@"', self.retort, *map(str, arguments)],
                              input=stdin, capture_output=True, text=True, errors="replace",
                              timeout=300, env=environment)

    def expect(self, what, code, pattern, *arguments, **options):
        process = self.run(*arguments, **options)
        errors = [l for l in process.stderr.splitlines()
                  if l.startswith(("retort: ", "retort serve: ")) and not l.startswith("retort: note:")]
        good = process.returncode == code and (
            code in (OK, INTERRUPTED) or len(errors) == 1 and re.search(pattern, errors[0])
            and (code == INTERNAL or "a bug" not in errors[0]) and "exception" not in errors[0])
        if code != OK and self.out.exists():
            good = False
            self.out.unlink()
        self.seen.add(code)
        self.lines.append((process.returncode, process.stderr))
        if not good:
            self.failures += 1
            print(f"FAILED: {what}: exit code {process.returncode}, expected {code} and /{pattern}/: "
                  f"{process.stderr[-400:]!r}")
        return process

    def compile(self, what, code, pattern, teacher, *options, **more):
        target = () if "--target" in options else ("--target", tiny.HOST_TARGET)
        return self.expect(what, code, pattern, "compile", teacher, "-o", self.out, *target, *options, **more)

    def template(self, text):
        path = self.work / "template.jinja"
        path.write_text(text)
        return path

    def teacher(self, name, change=None, **config):
        """A Hugging Face folder like the good one, with weights changed and a configuration."""
        from safetensors.numpy import load_file, save_file
        folder = self.work / name
        shutil.copytree(self.work / "hf", folder, dirs_exist_ok=True)
        if change:
            tensors = load_file(str(folder / "model.safetensors"))
            save_file(change(tensors) or tensors, str(folder / "model.safetensors"))
        (folder / "config.json").write_text(json.dumps(tiny.CONFIG | config))
        return folder
