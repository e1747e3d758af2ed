#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`retort eval` on a tiny teacher and a bundle of it.

    test_eval.py RETORT

1. A model has the same figure alone, beside another, and in a compile's report on the same bytes.
2. Per-document scores add up to the figures; intervals and the effective number are numpy's.
3. Answers to a task are those that transformers gives by the harness's definitions.
4. A gate that fails ships nothing but the report; one that cannot be judged is refused at once.
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

RETORT = sys.argv[1]
TEXT_BYTES = 20_000
# Teacher and specialist scored on TEXT_BYTES, 4 bytes a token, and nothing in between.
# Then on less, which is compared with nothing.
PIPELINE = ("builtin.module(insert-score{model=teacher name=before tokens=5000},run-data-work,"
            "quantize-weights{model=teacher format=i4g32s},insert-score{model=teacher name=less tokens=2500},"
            "insert-score{model=teacher name=after tokens=5000},run-data-work)")


class Bench:
    def __init__(self, work):
        self.work = work
        tiny.write_all(work)
        self.teacher, self.corpus, self.bundle = work / "teacher.gguf", work / "corpus", work / "a.retort"
        self.environment = dict(os.environ, RETORT_WORKSPACE=str(work / "workspace"))

    def run(self, *arguments, code=0):
        done = subprocess.run([RETORT, *map(str, arguments)], capture_output=True, text=True, timeout=600,
                              env=self.environment)
        assert done.returncode == code, (arguments, done.returncode, done.stderr)
        return done

    def eval(self, model, *options):
        return json.loads(self.run("eval", model, "--corpus", self.corpus, "--json", *options).stdout)


def ratio_interval(numerators, denominators):
    """numpy's percentile bootstrap, which BCa is near where documents are alike."""
    draws = np.random.default_rng(1).integers(0, len(numerators), (20000, len(numerators)))
    ratios = numerators[draws].sum(1) / denominators[draws].sum(1)
    return np.percentile(ratios, [2.5, 97.5]), ratios.std()


def check_interval(interval, numerators, denominators):
    expected, deviation = ratio_interval(numerators, denominators)
    assert np.abs(np.array(interval) - expected).max() < 0.6 * deviation, (interval, expected, deviation)


def check_figures(b):
    scores = b.work / "scores.tsv"
    limit = ("--text-bytes", TEXT_BYTES)
    both = b.eval(b.bundle, "--against", b.teacher, "--documents", scores, *limit)
    alone = b.eval(b.teacher, *limit)
    assert abs(alone["bits_per_byte"] - both["against"]["bits_per_byte"]) < 1e-5, (alone, both["against"])
    assert both["text_bytes"] == alone["text_bytes"] <= TEXT_BYTES
    assert both["bits_per_byte"] != alone["bits_per_byte"]

    rows = list(csv.DictReader(scores.open(), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == both["documents"] and all((b.corpus / row["document"]).exists() for row in rows)
    size, bits, against = (np.array([float(row[key]) for row in rows])
                           for key in ("text_bytes", "bits", "against_bits"))
    assert size.sum() == both["text_bytes"]
    assert abs(bits.sum() / size.sum() - both["bits_per_byte"]) < 1e-6
    assert abs(against.sum() / size.sum() - both["against"]["bits_per_byte"]) < 1e-6
    assert abs(size.sum() ** 2 / (size ** 2).sum() - both["effective_documents"]) < 1e-6
    check_interval(both["bits_per_byte_interval"], bits, size)
    check_interval(both["bits_per_byte_difference_interval"], bits - against, size)
    check_interval(both["bits_per_byte_ratio_interval"], bits, against)
    print(f"eval: {both['bits_per_byte']:.4f} against {alone['bits_per_byte']:.4f} on {len(rows)} documents")

    words = b.run("eval", b.bundle, "--corpus", b.corpus, "--against", b.teacher, *limit).stdout
    assert "95 %" in words and "difference: " in words and "tell as much as" in words, words


def check_report(b):
    bundle = b.work / "scored.retort"
    b.run("compile", b.teacher, "--corpus", b.corpus, "--small-corpus", "--passes", PIPELINE, "-o", str(bundle) + "/")
    report = json.loads((bundle / "report.json").read_text())
    assert report["format"] == 2
    before, less, after = report["models"]
    assert less["bits_per_byte_difference"] is None and less["bits_per_byte"] > 0, less
    assert less["weight_bytes_per_token"] == after["weight_bytes_per_token"], (less, after)
    alone = b.eval(b.teacher, "--text-bytes", TEXT_BYTES)
    assert abs(before["bits_per_byte"] - alone["bits_per_byte"]) < 1e-6, (before, alone)
    assert before["bits_per_byte_interval"] == alone["bits_per_byte_interval"]
    assert before["effective_documents"] == alone["effective_documents"]
    assert before["bits_per_byte_ratio"] is None
    assert abs(after["bits_per_byte_ratio"] - after["bits_per_byte"] / before["bits_per_byte"]) < 1e-12
    low, high = after["bits_per_byte_difference_interval"]
    assert low < after["bits_per_byte_difference"] < high
    bits = sum(document["bits"] for document in after["documents"])
    size = sum(document["text_bytes"] for document in after["documents"])
    assert abs(bits / size - after["bits_per_byte"]) < 1e-12 and size == alone["text_bytes"]
    assert report["specialist"] == "after"
    inspected = json.loads((bundle / "manifest.json").read_text())["figures"]
    assert after["weight_bytes_per_token"] == inspected["bytes_per_token"], (after, inspected)
    assert before["weight_bytes_per_token"] > after["weight_bytes_per_token"], "the teacher's file has f32"
    layers = report["layers"]
    assert [row["name"] for row in layers if row["shape"]] == [row["name"] for row in layers if row["teacher_shape"]]
    made = sum(row["attention_bytes"] + row["ffn_bytes"] + row["other_bytes"] for row in layers)
    assert abs(made - sum(row["bytes"] for row in report["parameters"])) < 0.02 * made, layers
    print(f"report: the teacher's {before['bits_per_byte']:.4f} is that of eval")


def expected_answers(b, lines):
    """acc and acc_norm of each line by transformers, after lm-evaluation-harness (api/task.py)."""
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    model = AutoModelForCausalLM.from_pretrained(b.work / "hf", dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(b.work / "hf/tokenizer.json"))

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False)

    def logits(tokens):
        with torch.no_grad():
            return torch.log_softmax(model(torch.tensor([[0] + tokens])).logits[0].double(), 1)

    def likelihood(context, continuation):
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        whole = encode(context + continuation)
        before = len(encode(context))
        rows = logits(whole)[before:len(whole)]
        target = torch.tensor(whole[before:])
        return rows.gather(1, target[:, None]).sum().item(), bool((rows.argmax(1) == target).all())

    answers = []
    for line in lines:
        if "choices" in line:
            sums = np.array([likelihood(line["prompt"], " " + choice)[0] for choice in line["choices"]])
            lengths = np.array([float(len(choice)) for choice in line["choices"]])
            answers.append((sums.argmax() == line["answer"], (sums / lengths).argmax() == line["answer"]))
        else:
            context, word = line["text"].rsplit(" ", 1)
            answers.append((likelihood(context, " " + word)[1],) * 2)
    return np.array(answers, dtype=float).mean(0)


def task_lines():
    rng = np.random.default_rng(3)
    def pick(words):
        return str(rng.choice(words))
    lines = []
    for number in range(60):
        choices = [f"{pick(tiny.VERBS)} the {pick(tiny.NOUNS)}" + f" {pick(tiny.ADVERBS)}" * int(rng.integers(3)) + str(i)
                   for i in range(4)]
        lines.append({"prompt": f"The {pick(tiny.NOUNS)}", "choices": choices, "answer": int(rng.integers(4))})
    return lines


def check_tasks(b):
    lines = task_lines()
    lines += [{"text": "The process closes the file"}, {"text": "RETURN VALUE On success"}]
    task = b.work / "faq.jsonl"
    task.write_text("".join(json.dumps(line) + "\n" for line in lines))
    expected = expected_answers(b, lines)
    asked = json.loads(b.run("eval", b.work / "hf", "--task", task, "--against", b.bundle, "--json").stdout)["tasks"][0]
    assert asked["questions"] == len(lines), asked
    assert abs(asked["acc"] - expected[0]) < 1e-9 and abs(asked["acc_norm"] - expected[1]) < 1e-9, (asked, expected)
    # int8 changes few answers; the paired difference has its interval.
    assert abs(asked["against"]["acc"] - asked["acc"]) < 0.15, asked
    low, high = asked["acc_difference_interval"]
    assert low <= asked["acc_difference"] <= high
    words = b.run("eval", b.work / "hf", "--task", task).stdout
    assert "acc_norm" in words and f"{len(lines)} questions" in words, words
    print(f"task: acc {asked['acc']:.3f}, acc_norm {asked['acc_norm']:.3f} as transformers, of {len(lines)}")


def check_gates(b):
    task = b.work / "faq.jsonl"
    common = ("compile", b.teacher, "--corpus", b.corpus, "--small-corpus", "--recipe", "int8")
    passing = ("--gate", "bits_per_byte <= 1.05 * teacher", "--gate", f"task:{task} acc_norm >= 0.5 * teacher")
    bundle = b.work / "gated.retort"
    b.run(*common, "-o", str(bundle) + "/", *passing)
    report = json.loads((bundle / "report.json").read_text())
    assert [gate["passed"] for gate in report["gates"]] == [True, True], report["gates"]
    assert report["gates"][0]["asked"] == "bits_per_byte <= 1.05 * teacher", report["gates"]
    assert {model["name"] for model in report["models"]} == {"teacher as it came", "specialist at gate"}
    assert [entry["task"] for entry in report["tasks"]] == ["faq.jsonl"] * 2, report["tasks"]

    out = b.work / "none.retort"
    error = b.run(*common, "-o", out, "--gate", "bits_per_byte < 0.5 * teacher", code=8).stderr.strip().splitlines()[-1]
    assert error.startswith("retort: bits_per_byte < 0.5 * teacher: reached "), error
    assert not out.exists()
    kept = pathlib.Path(error.rsplit(" ", 1)[1])
    assert "failed" in kept.read_text()
    assert not json.loads(kept.with_suffix(".json").read_text())["gates"][0]["passed"]

    bad = b.work / "bad.jsonl"
    bad.write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "a", "choices": ["b"], "answer": 0}\n')
    for gate, code, words in (("bits_per_byte", 2, "compares nothing"), ("perplexity <= 3", 2, "is no figure"),
                              (f"task:{bad} >= 0.5", 3, "bad.jsonl:2: the line needs at least two"),
                              (f"task:{b.work}/no.jsonl >= 0.5", 6, "no.jsonl")):
        error = b.run(*common, "-o", out, "--gate", gate, code=code).stderr.strip()
        assert words in error and "\n" not in error, error
    error = b.run("compile", b.teacher, "--recipe", "int8", "-o", out, "--gate", "bits_per_byte < 3", code=2).stderr
    assert "--corpus" in error, error
    error = b.run("eval", b.teacher, "--task", bad, code=3).stderr.strip()
    assert "bad.jsonl:2" in error and "\n" not in error, error
    assert "--task" in b.run("eval", b.teacher, code=2).stderr
    print("gates: passed, failed and refused")


def main():
    with tempfile.TemporaryDirectory(prefix="retort-eval-") as folder:
        b = Bench(pathlib.Path(folder))
        b.run("compile", b.teacher, "--recipe", "int8", "-o", b.bundle)
        check_figures(b)
        check_report(b)
        check_tasks(b)
        check_gates(b)


main()
