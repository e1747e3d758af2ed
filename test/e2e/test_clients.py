#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that are not ours: litellm, langchain-openai, instructor, llm and lm-evaluation-harness.

    test_clients.py RETORT BUILD

They need some hundred packages, so they have an environment of their own: RETORT_CLIENTS is the Python of one that has
scripts/requirements-clients.txt. RETORT_THOROUGH=1 makes one, once, in BUILD/clients. Without either, or without a network to
make one, the test is skipped (77).
"""
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import thorough
import tiny
from test_serve import Server, Test
from test_tools import TEMPLATE

HERE = pathlib.Path(__file__).parent
REQUIREMENTS = HERE.parents[1] / "scripts" / "requirements-clients.txt"
FIELDS = {"max_tokens": 12, "temperature": 0}


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def environment(build):
    """The Python of the clients' environment. What build/venv has is seen in one that is made here, too."""
    if given := os.environ.get("RETORT_CLIENTS"):
        return given
    if not thorough.THOROUGH:
        skip("neither RETORT_CLIENTS nor RETORT_THOROUGH is set")
    folder = build / "clients"
    made = folder / hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    python = folder / "bin" / "python"
    if made.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    site = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True,
                          text=True).stdout.strip()
    (pathlib.Path(site) / "retort.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-compile", "-r", REQUIREMENTS],
                             capture_output=True, text=True)
    if install.returncode:
        skip(f"the clients cannot be installed: {install.stderr.strip().splitlines()[-1]}")
    made.touch()
    return python


def questions(path):
    """Of several choices, as the harness reads them."""
    rng = random.Random(4)
    with open(path, "w") as out:
        for _ in range(24):
            choices = [f"{rng.choice(tiny.VERBS)} the {rng.choice(tiny.NOUNS)}" for _ in range(3)]
            out.write(json.dumps({"prompt": f"The {rng.choice(tiny.NOUNS)}", "choices": choices, "answer": rng.randrange(3)}) + "\n")


def is_move(value):
    return isinstance(value, dict) and value.get("where") in ("up", "down") and value.get("steps") in range(1, 10)


def scores(folder, task):
    """By transformers: how often the answer's log-likelihood is the largest, whole and by its length."""
    import torch
    import transformers
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    right = {"acc": [], "acc_norm": []}
    for line in task.read_text().splitlines():
        question, likely = json.loads(line), []
        for choice in question["choices"]:
            begin = len(tokenizer(question["prompt"]).input_ids)
            tokens = torch.tensor([tokenizer(f"{question['prompt']} {choice}").input_ids])
            with torch.no_grad():
                logits = torch.log_softmax(model(tokens).logits[0, begin - 1:-1].double(), -1)
            likely.append(float(logits.gather(1, tokens[0, begin:, None]).sum()))
        normal = [score / len(choice) for score, choice in zip(likely, question["choices"])]
        for name, list_ in (("acc", likely), ("acc_norm", normal)):
            right[name].append(list_.index(max(list_)) == question["answer"])
    return {name: sum(list_) / len(list_) for name, list_ in right.items()}


def main(t, python):
    task = t.work / "questions.jsonl"
    questions(task)
    truth = scores(t.work / "hf", task)
    with Server(t) as s:
        text = s.chat(**FIELDS).choices[0].message.content
        soon = {str(s.client.post("/../tokenize", cast_to=object, body={"prompt": word})["tokens"][0]): bias
                for word, bias in {"]": 6, "}": 6, "\n": -20}.items()} # the model is random: then its answers are short
        done = subprocess.run([python, HERE / "clients.py", s.url, t.work / "hf", task, json.dumps(soon)], capture_output=True,
                              text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    got = json.loads(done.stdout.splitlines()[-1])
    for name, result in got.items():
        t.check(name, "failed" not in result, result)
    litellm, langchain, instructor, llm, harness = (got[n] for n in ("litellm", "langchain", "instructor", "llm", "harness"))
    t.check("litellm's text", litellm.get("text") == litellm.get("streamed") == text, (litellm, text))
    t.check("litellm's error", "temperature" in (litellm.get("error") or "") and is_move(litellm.get("call")), litellm)
    t.check("langchain's text", langchain.get("text") == langchain.get("streamed") == text, (langchain, text))
    t.check("langchain's objects", is_move(langchain.get("structured")) and is_move(langchain.get("call")), langchain)
    t.check("instructor's objects", is_move(instructor.get("TOOLS")) and is_move(instructor.get("JSON_SCHEMA")), instructor)
    t.check("llm's text", llm.get("text", "").strip() == llm.get("streamed", "").strip() == text.strip(), (llm, text))
    t.check("the harness' scores", harness.keys() == truth.keys() and all(abs(harness[name] - truth[name]) < 1e-9 for name in truth), (harness, truth))


if __name__ == "__main__":
    python = environment(pathlib.Path(sys.argv[2]))
    tiny.SPECIALS = [*tiny.SPECIALS, "[TOOL_CALLS]"]
    with tempfile.TemporaryDirectory(prefix="retort-clients-") as work:
        test = Test(sys.argv[1], pathlib.Path(work), TEMPLATE)
        main(test, python)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
