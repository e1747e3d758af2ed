#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`retort run` and what its help says: stop strings, sampling options, conversations that fill the
context; and commands that need no workspace.

    test_run.py RETORT
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

CONTEXT = 96
TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
            "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
            "{% endif %}")


class Test:
    def __init__(self, retort, work):
        self.retort, self.work, self.failures = retort, work, 0
        tiny.write_hf(work / "hf")
        tiny.write_corpus(work / "corpus")
        (work / "hf/config.json").write_text(json.dumps(tiny.CONFIG | {"max_position_embeddings": CONTEXT}))
        settings = json.loads((work / "hf/tokenizer_config.json").read_text())
        (work / "hf/tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": TEMPLATE}))
        self.bundle = work / "m.retort"
        process = self.command("compile", work / "hf", "--recipe", "none", "-o", self.bundle)
        assert process.returncode == 0, process.stderr

    def command(self, *arguments, stdin="", **environment):
        return subprocess.run([self.retort, *map(str, arguments)], input=stdin, text=True, errors="replace",
                              capture_output=True, timeout=120,
                              env=dict(os.environ, RETORT_WORKSPACE=str(self.work / "ws")) | environment)

    def text(self, *arguments):
        process = self.command("run", self.bundle, "-p", "The process", "-n", "20", "--json", *arguments)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    def check(self, what, good, got=""):
        if not good:
            self.failures += 1
            print(f"FAILED: {what}: {got}")


def stops(t):
    whole = t.text()["text"]
    first, second = whole[2:4], whole[6:8]
    t.check("a stop string", t.text("--stop", second)["text"] == whole[:whole.index(second)])
    for order in ([first, second], [second, first]):
        both = t.text(*[word for stop in order for word in ("--stop", stop)])
        t.check(f"--stop twice, {order}", both["text"] == whole[:min(whole.index(first), whole.index(second))]
                and both["finish"] == "stop", both)
    process = t.command("run", "--stop", "zzz", t.bundle, "-p", "x", "-n", "1")
    t.check("--stop before the bundle", process.returncode == 0, process.stderr)


def special_tokens_stop(t):
    """A model that soon says the special token <|im_start|>, which has no text."""
    from safetensors.numpy import load_file, save_file
    folder = t.work / "special"
    shutil.copytree(t.work / "hf", folder)
    tensors = load_file(str(folder / "model.safetensors"))
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    tensors["lm_head.weight"][1] *= 4
    save_file(tensors, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps(
        tiny.CONFIG | {"max_position_embeddings": CONTEXT, "tie_word_embeddings": False}))
    bundle = t.work / "special.retort"
    process = t.command("compile", folder, "--recipe", "none", "-o", bundle)
    assert process.returncode == 0, process.stderr
    run = ["run", bundle, "-p", "The process", "-n", "60", "--temperature", "0", "--json"]
    without = json.loads(t.command(*run).stdout)
    stopped = json.loads(t.command(*run, "--stop", "<|im_start|>").stdout)
    t.check("a special token ends an answer", stopped["finish"] == "stop" and without["finish"] != "stop"
            and stopped["tokens"] < without["tokens"], (stopped, without))


def options(t):
    shown = t.command("run", "--help").stdout
    t.check("help of --top-p", re.search(r"--top-p.*\n?.*over 0 to 1; 0: all", shown), shown)
    hot = ["--temperature", "1", "--top-k", "0"]
    t.check("--top-p 0 is no cut", t.text(*hot, "--top-p", "0")["text"] == t.text(*hot, "--top-p", "1")["text"]
            != t.text(*hot, "--top-p", "1e-9")["text"])
    likeliest = t.text("--temperature", "0")["text"]
    t.check("--min-p 1 leaves the likeliest", t.text(*hot, "--min-p", "1")["text"] == likeliest != t.text(*hot)["text"])
    t.check("--repetition-penalty", t.text("--temperature", "0", "--repetition-penalty", "5")["text"] != likeliest)
    long = ["run", t.bundle, "-p", "The process", "-n", "80", "--temperature", "0", "--json", "--speculate"]
    repeated = [json.loads(t.command(*long, n).stdout) for n in (0, 8)]
    t.check("--speculate gives the same text", repeated[0]["text"] == repeated[1]["text"], repeated)
    t.check("--speculate guesses", repeated[1]["guessed_tokens"] > 0 == repeated[0]["guessed_tokens"]
            and repeated[1]["right_tokens"] <= repeated[1]["guessed_tokens"], repeated)
    process = t.command("run", t.bundle, "-p", "x", "--speculate", "65")
    t.check("--speculate 65", process.returncode == 2 and "--speculate" in process.stderr, process)
    process = t.command("run", t.bundle, "-p", "x", "-n", "0", "--json")
    answer = json.loads(process.stdout)
    t.check("-n 0 goes on until the context is full", answer["finish"] in ("context", "stop"), answer)
    seeds = {t.text(*hot, "--seed", str(seed))["text"] for seed in (0, 2**63 - 1, 2**63, 2**64 - 1)}
    t.check("seeds up to 2^64 - 1 differ", len(seeds) == 4, seeds)


def conversations(t):
    """Each question is answered whatever came before; carriage returns do not reach the model."""
    lines = [f"question {i} of the user" for i in range(12)]
    chat = ["run", t.bundle, "--chat", "-n", "8", "--temperature", "0"]
    process = t.command(*chat, stdin="\n".join(lines) + "\n")
    t.check("a long conversation", process.returncode == 0 and process.stdout.count("\n") >= len(lines),
            process.stderr)
    t.check("what is forgotten is said", "the oldest 2 turns are forgotten" in process.stderr, process.stderr)
    t.check("with carriage returns", t.command(*chat, stdin="\r\n".join(lines) + "\r\n").stdout == process.stdout)
    process = t.command(*chat, stdin="long " * 200 + "\nshort\n")
    t.check("a question that is too long is not asked", process.returncode == 0 and
            "it was not asked" in process.stderr and process.stdout.count("\n") == 1, process.stderr)


def no_workspace(t):
    """Without a folder to write to, all works that makes no result."""
    nowhere = {"RETORT_WORKSPACE": "", "XDG_CACHE_HOME": "", "HOME": "/proc/1"}
    task = t.work / "task.jsonl"
    task.write_text('{"prompt": "int", "choices": ["a", "b"], "answer": 0}\n')
    for arguments in (["import", t.work / "hf", "-o", "-"],
                      ["compile", t.work / "hf", "--corpus", t.work / "corpus", "--print-pipeline"],
                      ["eval", t.bundle, "--corpus", t.work / "corpus", "--text-bytes", "500", "-q"],
                      ["eval", t.work / "hf", "--task", task, "-q"],
                      ["inspect", t.bundle, "--phases"], ["inspect", t.work / "hf"]):
        process = t.command(*arguments, **nowhere)
        t.check(f"{arguments[0]} without a workspace", process.returncode == 0, process.stderr)
    process = t.command("compile", t.work / "hf", "--recipe", "none", "-o", t.work / "x.retort", **nowhere)
    t.check("compile says --workspace", process.returncode == 6 and "--workspace" in process.stderr, process.stderr)


def names_that_are_no_utf8(t):
    folder = os.fsencode(t.work) + b"/t\xe9acher"
    shutil.copytree(os.fsencode(t.work / "hf"), folder)
    out = os.fsencode(t.work) + b"/b\xe9.retort"
    process = subprocess.run([t.retort, "compile", folder, "--recipe", "none", "-o", out], capture_output=True,
                             env=dict(os.environ, RETORT_WORKSPACE=str(t.work / "ws")))
    t.check("a teacher's name that is no UTF-8", process.returncode == 0, process.stderr)
    for command in (["inspect", out, "--json"], ["run", out, "-p", "x", "-n", "1", "--json"]):
        process = subprocess.run([t.retort, *command], capture_output=True)
        t.check(f"{command[0]} of such a bundle", process.returncode == 0 and json.loads(process.stdout),
                process.stderr)


def the_same_bytes(t):
    """Neither threads nor the folder of the recipe's file are in a bundle."""
    text = t.command("compile", t.work / "hf", "--recipe", "int8", "--print-pipeline").stdout
    bundles = []
    for i, threads in enumerate((1, 2)):
        folder = t.work / f"recipe{i}"
        folder.mkdir()
        (folder / "mine.pipeline").write_text(text)
        out = t.work / f"same{i}.retort"
        process = t.command("compile", t.work / "hf", "--recipe", folder / "mine.pipeline", "-o", out, "--threads",
                            threads)
        t.check("a recipe of a file", process.returncode == 0, process.stderr)
        bundles.append(out.read_bytes())
    t.check("bundles are the same to the byte", bundles[0] == bundles[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="retort-run-") as work:
        test = Test(sys.argv[1], pathlib.Path(work))
        for part in (stops, special_tokens_stop, options, conversations, no_workspace, names_that_are_no_utf8,
                     the_same_bytes):
            print(part.__name__, flush=True)
            part(test)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
