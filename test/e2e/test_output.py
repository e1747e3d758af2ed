#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Standard output of every command: a full disk, a closed stream and a reader that goes away are
errors with a line and a code (docs/errors.md), never success; a stream that is closed is never
another file's.

    test_output.py RETORT
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

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

RESOURCES, IO = 5, 6


def commands(work):
    """Each command that prints, with what it prints; a command may be here more than once."""
    bundle, corpus, teacher = work / "good.retort", work / "corpus", work / "teacher.gguf"
    task = work / "task.jsonl"
    run = ["run", bundle, "-p", "int", "-n", "4", "--threads", "1"]
    score = ["eval", bundle, "--corpus", corpus, "-q", "--text-bytes", "2000"]
    bench = ["bench", bundle, "--repeat", "1", "--generate", "2", "--prompt", "4"]
    return {
        "--help": ["--help"], "--version": ["--version"],
        "run --help": ["run", "--help"],
        "run": run, "run --json": run + ["--json"],
        "inspect": ["inspect", bundle], "inspect --json": ["inspect", bundle, "--json"],
        "inspect --phases": ["inspect", bundle, "--phases"],
        "inspect of a teacher": ["inspect", teacher],
        "compile --print-pipeline": ["compile", teacher, "--corpus", corpus, "--print-pipeline"],
        "compile --dry-run": ["compile", teacher, "--recipe", "int8", "--dry-run"],
        "import -o -": ["import", teacher, "-o", "-"],
        "eval": score, "eval --json": score + ["--json"],
        "eval --task": ["eval", bundle, "--task", task, "-q"],
        "bench": bench, "bench --json": bench + ["--json"],
        "chat-render": ["chat-render", work / "chatty", work / "turns.json"],
        "corpus": ["corpus", corpus],
        "serve --help": ["serve", "--help"], "export --help": ["export", "--help"],
        "sweep": ["sweep", teacher, "--recipe", "int8", "--budgets", "10MB", "-o", work / "front", "--force", "-q", "--target",
                  tiny.HOST_TARGET],
        "recipes": ["recipes"], "recipes NAME": ["recipes", "specialist"],
    }


class Test:
    def __init__(self, retort, work):
        self.retort, self.work, self.failures = retort, work, 0
        tiny.write_all(work)
        shutil.copytree(work / "hf", work / "chatty")
        settings = work / "chatty/tokenizer_config.json"
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {
            "chat_template": "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"}))
        (work / "turns.json").write_text('[{"role": "user", "content": "int"}]')
        (work / "task.jsonl").write_text(
            '{"prompt": "int", "choices": ["a", "b"], "answer": 0}\n')
        process = self.run(["compile", work / "teacher.gguf", "--recipe", "int8", "-o", work / "good.retort"])
        assert process.returncode == 0, process.stderr

    def run(self, arguments, redirections="", before="", **options):
        environment = dict(os.environ, RETORT_WORKSPACE=str(self.work / "workspace"))
        line = f'{before} exec "$0" "$@" {redirections}'
        return subprocess.run(["bash", "-c", line, self.retort, *map(str, arguments)], text=True,
                              capture_output=True, timeout=120, env=environment, errors="replace",
                              **options)

    def check(self, what, good, process):
        if not good:
            self.failures += 1
            print(f"FAILED: {what}: exit code {process.returncode}, {process.stderr[-300:]!r}")

    def says(self, process, pattern):
        lines = [l for l in process.stderr.splitlines() if re.match("retort( serve)?: standard output: ", l)]
        return len(lines) == 1 and re.search(pattern, lines[0]) is not None


def every_command_is_walked(t, walked):
    listed = t.run(["--help"]).stdout.split("SUBCOMMANDS")[-1].split("Subcommands:")[-1]
    names = re.findall(r"^  ([\w-]+) ", listed, re.MULTILINE)
    assert len(names) >= 8, names
    missing = [n for n in names if not any(w.split()[0] == n for w in walked)]
    if missing:
        t.failures += 1
        print("FAILED: not walked:", missing)


def streams(t):
    walked = commands(t.work)
    every_command_is_walked(t, walked)
    for what, arguments in walked.items():
        process = t.run(arguments)
        t.check(what, process.returncode == 0 and process.stdout, process)
        full = t.run(arguments, "> /dev/full")
        t.check(f"{what} > /dev/full",
                full.returncode == RESOURCES and t.says(full, "No space left.*free some space"), full)
        closed = t.run(arguments, ">&-")
        t.check(f"{what} >&-", closed.returncode == IO and t.says(closed, "cannot be written"), closed)
        # A pipe whose reader has gone: SIGPIPE ends the process; ignored, it is an error.
        for ignored in (False, True):
            read, write = os.pipe()
            os.close(read)
            process = subprocess.run(
                [t.retort, *map(str, arguments)], stdout=write, stderr=subprocess.PIPE, text=True,
                restore_signals=not ignored, timeout=120,
                env=dict(os.environ, RETORT_WORKSPACE=str(t.work / "workspace")))
            os.close(write)
            if ignored:
                t.check(f"{what}, no reader, SIGPIPE ignored",
                        process.returncode == IO and t.says(process, "Broken pipe"), process)
            else:
                t.check(f"{what}, no reader", process.returncode == -signal.SIGPIPE, process)


def closed_streams_are_no_files(t):
    """The bundle has the same bytes whatever streams are closed; notes do not land in it."""
    want = (t.work / "good.retort").read_bytes()
    for streams in (">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
        out = t.work / "closed.retort"
        process = t.run(["compile", t.work / "teacher.gguf", "--recipe", "int8", "-o", out, "--force"], streams)
        t.check(f"compile {streams}", process.returncode == 0 and out.read_bytes() == want, process)


def files_for_others(t):
    """Files that commands write beside standard output are checked and appear whole or not."""
    corpus = t.work / "corpus"
    for what, arguments in {"corpus --documents": ["corpus", corpus, "--documents"],
                            "import -o": ["import", t.work / "teacher.gguf", "-o"]}.items():
        # A device of the same kind as /dev/full, or a pipe, is written to and not replaced.
        fifo = t.work / "fifo"
        os.mkfifo(fifo)
        reader = subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE)
        process = t.run([*arguments, fifo])
        t.check(f"{what} a pipe", process.returncode == 0 and fifo.is_fifo() and reader.communicate()[0], process)
        fifo.unlink()
        path = t.work / "small"
        process = t.run([*arguments, path], before="ulimit -f 1; trap '' XFSZ;")
        t.check(f"{what} over a limit of size", process.returncode == RESOURCES and not path.exists(),
                process)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="retort-output-") as folder:
        test = Test(sys.argv[1], pathlib.Path(folder))
        streams(test)
        closed_streams_are_no_files(test)
        files_for_others(test)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
