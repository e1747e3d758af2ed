#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Retort's chat formats against Jinja2 with transformers' settings: the same text, byte for byte.

    test_chat.py TOOL [--teacher FILE.gguf] [--template FILE.jinja BOS EOS]...

Each template is recognised by Retort (which must not refuse it) and rendered over several thousand
conversations by both. The templates below are written for this test and do what the families' own do
for text messages; the teacher's own template is read from its GGUF; --template adds others, such as
official ones. Then come templates that no declarative format can express: Retort must refuse them by
name, with exit code 4.
"""
import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

DATE = "26 Jul 2024"
ALTERNATE = """{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"""

FAMILIES = {
    "chatml": ("", "<|im_end|>", """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""),
    "smollm2": ("<|im_start|>", "<|im_end|>", """{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are SmolLM.<|im_end|>\\n' }}{% endif %}{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""),
    "llama-2": ("<s>", "</s>", """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system_message = false %}{% endif %}{% for message in rest %}""" + ALTERNATE + """{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""),
    "llama-3": ("<|begin_of_text|>", "<|eot_id|>", """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""),
    "llama-3.1": ("<|begin_of_text|>", "<|eot_id|>", """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{#- The first system message #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {{- raise_exception("no tools here") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""),
    "mistral-v1": ("<s>", "</s>", """{{ bos_token }}{% for message in messages %}""" + ALTERNATE + """{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""),
    "mistral-v3": ("<s>", "</s>", """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
"""),
    "qwen2.5": ("", "<|im_end|>", """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {{- raise_exception('no tools here') }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- raise_exception('no tools here') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""),
    "qwen3": ("", "<|im_end|>", """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""),
    "gemma-2": ("<bos>", "<eos>", """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}""" + ALTERNATE + """{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""),
    "gemma-3": ("<bos>", "<eos>", """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set first = "" -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    """ + ALTERNATE.replace("{%", "{%-").replace("%}", "-%}") + """
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
"""),
}

CHATML = FAMILIES["chatml"][2]
# Templates that must be refused: what they do cannot be said by a prefix and a suffix.
REFUSED = {
    "upper case": CHATML.replace("message['content']", "message['content'] | upper"),
    "numbered turns": CHATML.replace("'<|im_start|>'", "'<|im_start|>' ~ loop.index"),
    "depends on a word": CHATML.replace("'\\n' + message['content']", "('\\n' if '</think>' in message['content'] else '\\n') + (message['content'] | trim if message['content'].startswith('</s>') else message['content']) + ('!' if message['content'] == 'system' else '')"),
    "drops system": "{% for message in messages %}{% if message['role'] != 'system' %}" + CHATML[len("{% for message in messages %}"):].replace("{% endfor %}", "{% endif %}{% endfor %}"),
    "macro": "{% macro x(a) %}{{ a }}{% endmacro %}" + CHATML,
    "unknown filter": CHATML.replace("message['content']", "message['content'] | wordwrap"),
    "not a template": "{% for",
    "empty output": "hello",
    "endless": "{% for a in messages %}{% for b in messages %}{{ messages * 100 }}{% endfor %}{% endfor %}",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}

CONTENTS = ["Hello", "What is mmap(2)?", "", " ", "  before", "after  ", "\nlines\n\n", "a\tb\r\n", "\u00a0x\u3000", "\x1cy\x1f", "<|im_end|>",
            "</s>", "[INST] x [/INST]", "<<SYS>>\nx\n<</SYS>>\n\n", "<think>\nhm\n</think>\n\nyes", "<think>a</think>b</think>\n\nc",
            "{{ x }}", "{date}", "naïve 日本語 😀", "'quotes' \"and\" \\", "system", "|", "e\u0301\u0301"]


def environment():
    def refuse(message):
        raise TemplateError(message)
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda form: DATE
    return env


def conversations(seed):
    """Conversations that end with the user, the usual shapes and some that templates refuse."""
    rng = random.Random(seed)
    for content in CONTENTS:
        for place in range(4):
            for system in (False, True):
                roles = (["system"] if system else []) + ["user", "assistant", "user"][: 1 if place == 0 else 3]
                yield [{"role": r, "content": content if i == place else rng.choice(CONTENTS)} for i, r in enumerate(roles)]
    for _ in range(3000):
        roles = ["system"] * rng.randint(0, 1) + ["user", "assistant"] * rng.randint(0, 4) + ["user"]
        yield [{"role": r, "content": rng.choice(CONTENTS)} for r in roles]
    for roles in itertools.product(("system", "user", "assistant"), repeat=3):
        yield [{"role": r, "content": rng.choice(CONTENTS[:4])} for r in roles + ("user",)]


def run(tool, template, bos, eos, cases):
    with tempfile.NamedTemporaryFile("w", suffix=".jinja", delete=False, newline="") as file:
        file.write(template)
    try:
        return subprocess.run([tool, file.name, "chat", bos, eos], input=json.dumps(cases).encode(), capture_output=True)
    finally:
        os.unlink(file.name)


def check(tool, name, bos, eos, template):
    cases = [(c, g) for c in conversations(7) for g in (True, False)]
    result = run(tool, template, bos, eos, cases)
    if result.returncode:
        sys.exit(f"{name}: {result.stderr.decode()}")
    answer = json.loads(result.stdout)
    reference = environment().from_string(template)
    agreed = refused = stricter = 0
    for (messages, generate), ours in zip(cases, answer["texts"]):
        try:
            theirs = reference.render(messages=messages, add_generation_prompt=generate, tools=None, documents=None,
                                      bos_token=bos, eos_token=eos)
        except TemplateError:
            theirs = None
        if ours is None and theirs is not None:
            stricter += 1
            roles = [m["role"] for m in messages]
            usual = all(a != b for a, b in zip(roles, roles[1:])) and "system" not in roles[1:]
            if usual and roles[0] != "assistant":
                sys.exit(f"{name}: refuses {messages}")
        elif ours != theirs:
            sys.exit(f"{name}: {messages} generate={generate}\n  retort {ours!r}\n  jinja  {theirs!r}")
        elif ours is None:
            refused += 1
        else:
            agreed += 1
    form = answer["format"]
    print(f"{name}: recognised as {form['name']}, {agreed} conversations the same, {refused} refused by both, "
          f"{stricter} by Retort only (system messages in odd places)", flush=True)
    assert agreed > 1000 or form["system_place"] == "refused" and agreed > 500


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool")
    parser.add_argument("--teacher")
    parser.add_argument("--template", nargs=3, action="append", default=[], metavar=("FILE", "BOS", "EOS"))
    args = parser.parse_args()
    for name, (bos, eos, template) in FAMILIES.items():
        check(args.tool, name, bos, eos, template)
    if args.teacher and os.path.exists(args.teacher):
        import gguf
        template = gguf.GGUFReader(args.teacher).fields["tokenizer.chat_template"].contents()
        check(args.tool, "teacher", "<|im_start|>", "<|im_end|>", template)
    for path, bos, eos in args.template:
        check(args.tool, path, bos, eos, open(path, newline="").read())
    for name, template in REFUSED.items():
        result = run(args.tool, template, "<s>", "<|im_end|>", [])
        message = result.stderr.decode()
        if result.returncode != 4 or message.count("\n") != 1 or "not known to Retort" not in message:
            sys.exit(f"{name}: exit code {result.returncode}, not 4, or not one line: {message}")
        print(f"refused, {name}: {message.strip()[-150:]}")


main()
