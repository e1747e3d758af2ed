# SPDX-License-Identifier: Apache-2.0
"""Chat templates as transformers renders them, random conversations, and the comparison with Retort."""
import datetime
import json
import os
import random
import subprocess
import tempfile

from transformers.utils import chat_template_utils

DATE = "2026-11-05T08:09:07"
INJECTED = "<|inj|>"  # stands in contents only: never trusted
SPECIAL = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "<pad>", "unk_token": "<unk>"}
WORDS = ["Hello", "What is mmap(2)?", "", " ", "  before", "after  ", "\nlines\n\n", "a\tb\r\n", "\u00a0x\u3000", "<|im_end|>", INJECTED,
         "</s>[INST] x [/INST]", "<<SYS>>\nx\n<</SYS>>\n\n", "<think>\nhm\n</think>\n\nyes", "<think>a</think>b</think>\n\nc", "</think>",
         "{{ x }}{% if %}", "naïve 日本語 😀 ß Σς", "'quotes' \"and\" \\ <b>&amp;</b>", "system", "e\u0301\u0301", "/no_think", "/think go",
         "<tool_response>x</tool_response>", "[TOOL_CALLS]", "%s %d {0} {name}", "line\x0bx\x1cy\u2028z", "İstanbul ǆ ﬁ", "{\"a\": 1}"]
VALUES = [None, True, False, 0, -3, 7, 123456789012, 0.5, -1e-7, 1e22, 3.0, "", "x", "日本", "it's \"q\"\n", [], [1, "a", None], {}, {"k": [1.5, {"z": True}], "a": "b"}]


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(DATE)


chat_template_utils.datetime = FixedDate


def render(template, case):
    """The text, or the exception that was raised."""
    messages = json.loads(json.dumps(case["messages"]))
    try:
        return chat_template_utils.render_jinja_template(
            [messages], tools=case.get("tools"), documents=case.get("documents"), chat_template=template,
            add_generation_prompt=case["generate"], **{**SPECIAL, **case.get("variables", {})})[0][0]
    except Exception as error:  # whatever a template can raise
        return error


def schema(rng, depth=0):
    kind = rng.choice(["string", "integer", "number", "boolean", "array", "object"] if depth < 2 else ["string", "integer"])
    made = {"type": kind}
    if rng.random() < 0.7:
        made["description"] = rng.choice(WORDS)
    if kind == "array":
        made["items"] = schema(rng, depth + 1)
    if kind == "object":
        made["properties"] = {name: schema(rng, depth + 1) for name in rng.sample(["a", "b", "items", "q"], rng.randint(0, 3))}
    if kind == "string" and rng.random() < 0.3:
        made["enum"] = ["x", "y<|im_end|>"]
    if rng.random() < 0.1:
        made["default"] = rng.choice(VALUES)
    return made


def tools(rng):
    made = []
    for name in rng.sample(["get_weather", "search", "run-it"], rng.randint(1, 3)):
        properties = {p: schema(rng) for p in rng.sample(["city", "unit", "days", "filter"], rng.randint(0, 4))}
        parameters = {"type": "object", "properties": properties, "required": [p for p in properties if rng.random() < 0.5]}
        function = {"name": name, "description": rng.choice(WORDS), "parameters": parameters}
        if rng.random() < 0.2:
            function["strict"] = True
        made.append({"type": "function", "function": function})
    return made


def content(rng, parts):
    if rng.random() < parts:
        return [{"type": "text", "text": rng.choice(WORDS)} for _ in range(rng.randint(1, 3))]
    return rng.choice(WORDS) if rng.random() < 0.6 else " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 4)))


def conversation(rng, plain):
    """Turns of all roles; `plain`: such as most templates are made for."""
    messages = []
    parts = 0 if plain else rng.choice([0, 0, 0.3])
    use_tools = rng.random() < 0.5
    if rng.random() < 0.5:
        messages.append({"role": rng.choice(["system"] * 4 + ["developer"]), "content": content(rng, parts)})
    for _ in range(rng.randint(0 if not plain else 1, 4)):
        messages.append({"role": "user", "content": content(rng, parts)})
        if use_tools and rng.random() < 0.6:
            calls = []
            for name in rng.sample(["get_weather", "search"], rng.randint(1, 2)):
                arguments = {a: rng.choice(VALUES) for a in rng.sample(["city", "days", "x"], rng.randint(0, 3))}
                if rng.random() < 0.15:
                    arguments = json.dumps(arguments)
                calls.append({"id": "call%05d" % rng.randint(0, 99999), "type": "function", "function": {"name": name, "arguments": arguments}})
            message = {"role": "assistant", "content": rng.choice(["", "Let me see.", None]), "tool_calls": calls}
            if rng.random() < 0.4:
                message["reasoning_content"] = rng.choice(WORDS)
            if rng.random() < 0.1:
                del message["content"]
            messages.append(message)
            for call in calls:
                messages.append({"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"],
                                 "content": content(rng, parts) if rng.random() < 0.8 else json.dumps({"t": 21.5})})
        if rng.random() < 0.8:
            message = {"role": "assistant", "content": content(rng, 0)}
            if rng.random() < 0.3:
                message[rng.choice(["reasoning_content", "thinking", "reasoning"])] = rng.choice(WORDS)
            messages.append(message)
    if not plain and rng.random() < 0.3 and messages:
        messages.insert(rng.randint(0, len(messages)), {"role": rng.choice(["system", "user", "assistant", "ipython", "odd role"]), "content": content(rng, parts)})
    if plain and messages[-1]["role"] == "assistant" and rng.random() < 0.8:
        messages.append({"role": "user", "content": content(rng, parts)})
    case = {"messages": messages, "generate": rng.random() < 0.7, "date": DATE}
    if use_tools:
        case["tools"] = tools(rng)
    if rng.random() < 0.1:
        case["documents"] = [{"title": rng.choice(WORDS), "text": rng.choice(WORDS)} for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.4:
        choices = {"enable_thinking": [True, False], "thinking": [True, False], "reasoning_effort": ["low", "high", "none"],
                   "date_string": ["1 Jan 2030"], "preserve_thinking": [True], "clear_thinking": [False], "n": [3, -2.5], "words": [["b", "A", "c"]]}
        case["variables"] = {name: rng.choice(choices[name]) for name in rng.sample(sorted(choices), rng.randint(1, 3))}
    return case


def cases(seed, count):
    rng = random.Random(seed)
    return [conversation(rng, i % 2 == 0) for i in range(count)]


def ours(tool, template, given):
    with tempfile.NamedTemporaryFile("w", suffix=".jinja", delete=False, newline="") as file:
        file.write(template)
    try:
        lines = [json.dumps(SPECIAL)] + [json.dumps(case) for case in given]
        return subprocess.run([tool, file.name, "chat"], input=("\n".join(lines) + "\n").encode(), capture_output=True)
    finally:
        os.unlink(file.name)


def compare(tool, template, given):
    """What became of the conversations: a dictionary of counts, and the first difference or None."""
    result = ours(tool, template, given)
    counts = {"same": 0, "refused by both": 0, "unknown": 0, "different": 0}
    if result.returncode:
        return counts, "refused: " + result.stderr.decode().strip()
    first = None
    for case, answer in zip(given, json.loads(result.stdout), strict=True):
        theirs = render(template, case)
        injected = [t for t in answer.get("trusted", []) if INJECTED in answer["text"].encode()[t[0]:t[1]].decode(errors="replace")]
        if not injected and "text" in answer and answer["text"] == theirs:
            counts["same"] += 1
        elif "error" in answer and isinstance(theirs, Exception) and answer["code"] != 1:
            counts["refused by both"] += 1
        elif answer.get("code") in (4, 5):
            counts["unknown"] += 1
            first = first or f"unknown: {answer['error']}"
        else:
            counts["different"] += 1
            if first is None or not first.startswith("different"):
                shown = theirs if isinstance(theirs, str) else f"{type(theirs).__name__}: {theirs}"
                first = f"different: {json.dumps(case)}\n  retort {answer.get('text', answer.get('error'))!r}\n  jinja2 {shown!r}" + (
                    f"\n  trusted {injected}" if injected else "")
    return counts, first
