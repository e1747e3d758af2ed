#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Retort's chat templates against transformers': the same text, byte for byte, or both refuse.

    test_chat.py TOOL [--teacher FILE.gguf] [--folder DIR] [--count N] [--seed S]

TOOL is tokenizer_tool. Every template below is rendered by both over random conversations
(chat_reference.py): they are written for this test, do what the families' own do, and between them use
every statement, expression, filter, test and method. The teacher's own template is read from its GGUF.
With --folder, the templates (*.jinja) of a folder are compared and a table of them is printed.
"""
import argparse
import glob
import os
import sys

import chat_reference

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


CORE = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{- message.content }}{%- elif message.content %}{%- for part in message.content %}{{- part.text }}{%- endfor %}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# c is the first message's content, ns a namespace, v a list of values of every kind.
PRELUDE = """{%- set c = (messages[0].content if messages and messages[0].content is string else 'None given') %}
{%- set v = [none, true, false, 0, 3, -2, 0.5, 2.0, 1e22, 1e-7, '', 'a', "it's", [], [1, 'b', [none]], (1,), (), {}, {'k': 1.5, 'b': {'z': [true]}}] %}
{%- set t = tools or [] %}
"""
CONSTRUCTS = {
    # White space and comments.
    "lines": "a  \n  {% if true %}  \n  b\n  {% endif %}\n\n{%+ if true %} x {% endif +%}\n {# note #}\n  {#- x -#}  \n y {%- if true -%}  z  {%- endif %}\n{{ 1 -}}\n  {{- 2 }}\n\n",
    "carriage returns": "a\r\n{% if true %}\r\nb\r{% endif %}\r\n\r\n",
    "raw": "{% raw %}{{ x }}{% if %}\n{% endraw %}\n  {%- raw -%} y {%- endraw -%}  z",
    "braces": "{{ {'a': {'b': 1}}['a']['b'] }}{{ '}}' }}{{ \"%}\" }}{{ {} }}{ x }",
    "strings": r"""{{ 'a\'b' "c\"d" 'e' }}{{ '\n\t\\\x41\u00e9\U0001F600\101\q' }}""",
    "numbers": "{{ [0, 10, 1_000, 0x1F, 0o17, 0b101, 1.5, 1e3, 2.5e-3, 1_0.5] }}{{ c.0 }}{{ [7].0 }}",
    # Statements.
    "macros": "{% macro m(a, b='x', c=b) %}{{ a }}|{{ b }}|{{ c }}|{{ varargs }}|{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 2, 3, 4, 5) }}{{ m(b=3, a=c, z=4) }}{{ m.name }}",
    "macro errors": "{% macro m(a) %}{{ a }}{% endmacro %}{{ m() }}{% if n is defined %}{{ m(1, 2) }}{% elif words is defined %}{{ m(z=1) }}{% endif %}",
    "recursive macro": "{% macro walk(x) %}{% if x is mapping %}{% for k, y in x | dictsort %}{{ k }}:{{ walk(y) }};{% endfor %}{% elif x is iterable and x is not string %}[{% for y in x %}{{ walk(y) }},{% endfor %}]{% else %}{{ x | tojson }}{% endif %}{% endmacro %}{{ walk(t) }}{{ walk(v) }}",
    "call blocks": "{% macro box(x) %}<{{ x }}{{ caller(x) }}>{% endmacro %}{% call(y) box(1) %}in {{ y }} {{ c }}{% endcall %}{% macro plain() %}{{ caller is defined }}{{ caller() if caller else 'none' }}{% endmacro %}{{ plain() }}{% call plain() %}z{% endcall %}",
    "closures": "{% set x = 1 %}{% macro m() %}{{ x }}{{ y is defined }}{% endmacro %}{{ m() }}{% set x = 2 %}{% set y = 3 %}{{ m() }}{% for x in [9] %}{{ m() }}{{ x }}{% endfor %}{{ x }}",
    "scopes": "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 5 %}{% endif %}{{ x }}{% with x = 7, y = x %}{{ x }}{{ y }}{% set z = 1 %}{% endwith %}{{ x }}{{ z is defined }}",
    "set blocks": "{% set x %} a {{ c }} {% endset %}[{{ x }}]{% set y | trim | upper %} b {% endset %}[{{ y }}]{% filter replace('a', 'A') | upper %}banana{{ c }}{% endfilter %}",
    "namespaces": "{% set ns = namespace(a=1, b=[]) %}{% for m in messages %}{% set ns.a = ns.a + 1 %}{% set ns.b = ns.b + [m.role] %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.zz is defined }}{% set ns2 = namespace({'q': 1}) %}{{ ns2.q }}",
    "unpacking": "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (a, b), d = (b, a), 3 %}{{ a, b, d }}{% for k, (x, y) in [('p', (1, 2))] %}{{ k }}{{ x }}{{ y }}{% endfor %}{% if n is defined %}{% set a, b = [1] %}{% endif %}",
    "loops": "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.cycle('x', 'y') }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem is defined }}{{ loop.changed(m.role) }}{% else %}none{% endfor %}{% for x in [] %}x{% else %}empty{% endfor %}{{ loop is defined }}",
    "loop filters": "{% for m in messages if m.role != 'user' and loop is not defined %}{{ loop.index }}/{{ loop.length }}{{ m.role }}{% else %}none{% endfor %}",
    "loop controls": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{% if loop.index > 3 %}{% break %}{% endif %}{{ m.role }}{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}{% endfor %}",
    "loop controls in blocks": "{% for m in messages %}{% set x %}{{ m.role }}{% if loop.first %}{% continue %}{% endif %}!{% endset %}{{ x }}{% filter upper %}a{% if loop.index > 2 %}{% break %}{% endif %}b{% endfilter %}{% endfor %}{{ x is defined }}",
    "recursive loops": "{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}<{{ loop.depth }}{{ loop(x) }}>{% else %}{{ x }}{{ loop.depth0 }}{% endif %}{% endfor %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.role }}{% set inner = 1 %}{% endgeneration %}{{ inner is defined }}{% endfor %}",
    "print": "{% print c, 1 %}",
    "else chains": "{% for x in v %}{% if x is none %}N{% elif x is boolean %}B{% elif x is number %}n{% elif x is string %}s{% elif x is mapping %}m{% elif x is sequence %}q{% else %}?{% endif %}{% endfor %}{{ 'a' if n is defined else 'b' if words is defined else 'c' }}{{ 'x' if false }}",
    # Values.
    "printing": "{% for x in v %}{{ x }};{% endfor %}{{ v }}{{ t }}{{ c }}{{ [c] }}{{ undefined_thing }}{{ [1.0, -0.0, 1e16, 1.5e300, 123456.789, 1e15] }}",
    "json": "{% for x in v %}{{ x | tojson }};{% endfor %}{{ t | tojson }}{{ t | tojson(indent=2) }}{{ v | tojson(indent=4, sort_keys=true) }}{{ c | tojson(ensure_ascii=true) }}{{ {'b': 1, 'a': [1, {}]} | tojson(separators=(',', ':'), sort_keys=true) }}{{ [[], {}] | tojson(indent='\t') }}{{ {1: 2, true: 3, none: 4, 1.5: 5} | tojson }}",
    "json of undefined": "{{ nothing | tojson }}",
    "truth": "{% for x in v %}{{ 1 if x else 0 }}{{ not x }}{{ x and 'y' }}{{ x or 'z' }}{% endfor %}{{ 1 if messages | selectattr('role', 'equalto', 'wizard') else 0 }}",
    "arithmetic": "{{ [7 + 2, 7 - 9, 7 * 3, 7 / 2, 7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 2 ** 10, 2 ** -1, 7.5 // 2, -7.5 % 2, 1 + 0.5, true + 1, 10 / 5, -(3), +true, 2 ** 3 ** 2, -2 ** 2] }}{{ 'ab' * 3 }}{{ 2 * [1, 2] }}{{ 'a' + c }}{{ [1] + [2] }}{{ (1,) + (2,) }}",
    "zero": "{{ 1 / (0 if n is defined else 1) }}{{ 1 // (0 if words is defined else 1) }}",
    "comparisons": "{{ [1 < 2, 1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, true == 1, 'a' < 'b', 'é' > 'z', [1, 2] < [1, 3], (1,) == [1], none == none, 1 != 2, 3 >= 3, 'a' == c, {'a': 1} == {'a': 1.0}, 0.1 + 0.2 == 0.3] }}{% for x in v %}{{ x in v }}{{ x not in [1, 'a'] }}{% endfor %}{{ 'a' in 'cat' }}{{ 'k' in {'k': 1} }}{{ 1 in (1, 2) }}{{ '' in c }}{{ nothing in [1] }}{{ 1 in nothing }}",
    "no order": "{{ 1 < ('a' if n is defined else 2) }}{{ none < 1 if words is defined }}",
    "concatenation": "{{ 1 ~ 'a' ~ none ~ c ~ nothing ~ [1] ~ 2.50 }}",
    "indexing": "{{ c[0] }}{{ c[-1] }}{{ c[1:3] }}{{ c[::-1] }}{{ c[:-1] }}{{ c[100:] }}{{ c[3:1] }}{{ v[4] }}{{ v[-1]['k'] }}{{ v[-1].k }}{{ v[99] is defined }}{{ v[2:12:3] }}{{ v[::-2] | length }}{{ (1, 2, 3)[1:] }}{{ {'items': 1}['items'] }}{{ {'items': 1}.items is callable }}{{ {1: 'x'}[1] }}{{ c['upper']() }}{{ c[1.5] is defined }}{{ [1, 2][true] }}",
    "undefined": "{{ nothing }}{{ nothing is defined }}{{ nothing is none }}{{ nothing | default('d') }}{{ nothing | length }}{{ nothing | list }}{{ nothing | trim }}{{ nothing | upper }}{{ nothing | join }}{% for x in nothing %}x{% endfor %}{{ nothing == nothing }}{{ not nothing }}{{ nothing is iterable }}{{ nothing is sequence }}{{ nothing is string }}{{ {}.x is undefined }}{{ nothing | first is defined }}{{ nothing | items | list }}",
    "undefined errors": "{{ nothing.x if n is defined }}{{ nothing['x'] if words is defined }}{{ nothing + 'x' if enable_thinking is defined }}{{ nothing() if thinking is defined }}",
    "tests": "{% for x in v %}{{ x is defined }}{{ x is none }}{{ x is boolean }}{{ x is true }}{{ x is false }}{{ x is integer }}{{ x is float }}{{ x is number }}{{ x is string }}{{ x is mapping }}{{ x is sequence }}{{ x is iterable }}{{ x is callable }}{{ x is eq 3 }}{{ x is equalto 'a' }}{{ x is ne none }}{{ x is in [1, 'a'] }}{{ x is sameas none }}{{ x is not undefined }};{% endfor %}{{ 4 is even }}{{ 4 is odd }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 3 is gt 2 }}{{ 3 is lessthan 2 }}{{ 3 is ge(3) }}{{ 'ab' is lower }}{{ c is upper }}{{ 'trim' is filter }}{{ 'odd' is test }}{{ range is callable }}{{ 'a' is escaped }}{{ ('a' | escape) is escaped }}",
    # Filters.
    "text filters": "{{ c | upper }}{{ c | lower }}{{ c | capitalize }}{{ c | title }}{{ c | trim }}{{ c | trim('aH') }}{{ c | replace('e', '3') }}{{ c | replace('l', 'L', 1) }}{{ c | length }}{{ c | reverse }}{{ c | center(30) }}{{ c | indent }}{{ c | indent(2, true) }}{{ c | indent('> ', blank=true) }}{{ c | truncate(5) }}{{ c | truncate(6, true, '!', 0) }}{{ c | list }}{{ c | first }}{{ c | last }}{{ c | string }}{{ c | count }}{{ c | urlencode }}{{ c | e }}{{ 12 | string | length }}{{ none | upper }}{{ 3.5 | trim }}{{ 'a b_c d' | wordcount }}",
    "safe": "{{ ('<b>' | safe) }}{{ '<a>' + ('<b>' | safe) }}{{ ('<b>' | safe) ~ '<c>' }}{{ (t | tojson | safe) ~ '</x>' }}{{ '<&' | escape }}{{ '<' | e | e }}{{ '<' | forceescape | forceescape }}",
    "numbers as filters": "{{ '42' | int }}{{ '42.9' | int }}{{ 'x' | int(7) }}{{ ' -5 ' | int }}{{ '0x1f' | int(base=16) }}{{ 3.99 | int }}{{ true | int }}{{ none | int }}{{ '1_0' | int }}{{ '2.5' | float }}{{ 'x' | float }}{{ '1e3' | float }}{{ 3 | float }}{{ -3 | abs }}{{ -2.5 | abs }}{{ 2.5 | round }}{{ 3.5 | round }}{{ 2.675 | round(2) }}{{ 2.1 | round(0, 'ceil') }}{{ 2.19 | round(1, 'floor') }}{{ 7 | round }}{{ [1, 2.5] | sum }}{{ [[1], [2]] | sum(start=[]) }}{{ [{'a': 1}, {'a': 2}] | sum('a') }}{{ [3, 1] | min }}{{ ['b', 'A', 'c'] | max }}{{ [] | min is defined }}",
    "list filters": "{{ messages | map(attribute='role') | join(', ') }}{{ messages | map(attribute='zz', default='d') | list }}{{ ['a', 'B'] | map('upper') | list }}{{ [1, 2, 3, 4] | select('even') | list }}{{ v | select | list | length }}{{ v | reject('none') | list | length }}{{ messages | selectattr('role', 'eq', 'user') | list | length }}{{ messages | rejectattr('role', 'in', ['user', 'tool']) | map(attribute='role') | list }}{{ messages | selectattr('content') | list | length }}{{ [3, 1, 2] | sort }}{{ ['b', 'A', 'c'] | sort }}{{ ['b', 'A', 'c'] | sort(reverse=true, case_sensitive=true) }}{{ messages | sort(attribute='role') | map(attribute='role') | list }}{{ ['a', 'A', 'b'] | unique | list }}{{ [1, 2, 3] | reverse | list }}{{ [1, 2, 3, 4, 5] | batch(2, 0) | list }}{{ [1, 2, 3, 4, 5] | slice(3) | list }}{{ [1, 2, 3] | first }}{{ [1, 2, 3] | last }}{{ [] | first is defined }}{{ {'a': 1, 'B': 2} | dictsort }}{{ {'a': 2, 'b': 1} | dictsort(by='value', reverse=true) }}{{ {'a': 1} | items | list }}{{ {'a': 1} | list }}{{ [1, [2]] | join('-') }}{{ [{'x': {'y': 3}}] | map(attribute='x.y') | list }}{{ [[5]] | map(attribute=0) | list }}",
    "groups": "{% for role, group in messages | groupby('role') %}{{ role }}={{ group | length }};{% endfor %}{% for g in [{'a': 'x'}, {'a': 'X'}] | groupby('a') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}",
    "once": "{% set g = messages | map(attribute='role') %}{{ g | list }}{{ g | list }}{% set g = [1, 2, 3] | map('string') %}{{ g | first }}{{ g | list }}{{ 'y' if g else 'n' }}",
    "generators have no length": "{{ messages | map(attribute='role') | length }}",
    "choices": "{{ none | default('d') }}{{ none | default('d', true) }}{{ '' | d('e', boolean=true) }}{{ c | attr('upper') is defined }}{{ {'a': 1} | attr('a') is defined }}{{ '%s-%d' | format('x', 3) }}{{ '%(a)s' | format(a=1) }}",
    "percent": "{{ '%s' % c }}{{ '%s %r' % (c, c) }}{{ '%d%%' % 5 }}{{ '%5d|%-5d|%05d|%+d' % (1, 2, 3, 4) }}{{ '%.2f %8.3f %e %g' % (1.005, 2.5, 12345.678, 0.0001) }}{{ '%x %X %o' % (255, 255, 8) }}{{ '%10s|%-10s|%.2s' % ('a', 'b', 'cde') }}{{ '%(k)s' % {'k': 1} }}{{ '%s' % ((1, 2),) }}{{ '%i' % 3.9 }}",
    "percent errors": "{{ '%s %s' % 1 if n is defined }}{{ 'x' % 1 if words is defined }}{{ '%d' % 'a' if enable_thinking is defined }}",
    # Methods.
    "case methods": "{{ c.upper() }}{{ c.lower() }}{{ c.capitalize() }}{{ c.title() }}{{ c.swapcase() }}{{ c.islower() }}{{ c.isupper() }}{{ c.isspace() }}{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ ''.isalpha() }}",
    "split methods": "{{ c.split() }}{{ c.split(none, 1) }}{{ c.rsplit(maxsplit=1) }}{{ c.split('e') }}{{ c.split('l', 1) }}{{ c.rsplit('l', 1) }}{{ c.splitlines() }}{{ c.splitlines(true) }}{{ c.partition('l') }}{{ c.rpartition('l') }}{{ ' a  b '.split(' ') }}{{ 'a,b'.split(',')[-1] }}{{ c.split('</think>')[-1].lstrip('\n') }}{{ '  a b  c '.rsplit(none, 1) }}",
    "strip methods": "[{{ c.strip() }}][{{ c.lstrip() }}][{{ c.rstrip() }}][{{ c.strip('\n H') }}][{{ 'xxaxx'.lstrip('x') }}][{{ c.removeprefix('He') }}][{{ c.removesuffix('lo') }}][{{ c.strip(none) }}]",
    "find methods": "{{ c.find('l') }}{{ c.rfind('l') }}{{ c.count('l') }}{{ c.count('') }}{{ c.find('l', 3) }}{{ c.startswith('He') }}{{ c.endswith(('o', 'x')) }}{{ c.startswith('l', 2) }}{{ 'abc'.index('c') }}{{ c.find('語') }}{{ c.index('zz') if n is defined }}",
    "replace methods": "{{ c.replace('l', 'LL') }}{{ c.replace('l', '', 1) }}{{ 'ab'.replace('', '-') }}{{ 'x'.join(['a', c, 'b']) }}{{ ', '.join(messages | map(attribute='role')) }}{{ '{} {1} {a}'.format(1, 2, a=c) if n is defined }}{{ '{}:{{}}:{}'.format(c, 1) }}{{ '{1}{0}{a}'.format(1, 2, a=c) }}{{ 'a'.ljust(3, '.') }}{{ 'a'.rjust(3) }}{{ 'ab'.center(5, '*') }}{{ '-7'.zfill(4) }}",
    "dictionaries": "{% for tool in t %}{% for k, x in tool.function.items() %}{{ k }}={{ x }};{% endfor %}{{ tool.keys() | list }}{{ tool.get('zz') }}{{ tool.get('zz', 'd') }}{{ tool['function']['name'] }}{{ tool.function.parameters.properties.keys() | join(',') }}{{ tool.values() | list | length }}{{ tool.copy() == tool }}{% endfor %}{{ {'a': 1}.items() }}{{ {'a': 1}.keys() }}{{ {'a': 1}.values() | list }}{{ dict(a=1, b=c).b }}{{ dict({'x': 1}, y=2) }}{{ dict([('p', 1)]) }}",
    "immutable": "{{ [1].append(2) if n is defined }}{{ {'a': 1}.pop('a') if words is defined }}{{ [1, 2].index(2) }}{{ [1, 1].count(1) }}{{ (2.0).is_integer() }}",
    "functions": "{{ range(3) | list }}{{ range(5, 0, -2) | list }}{% set j = joiner('; ') %}{{ j() }}a{{ j() }}b{{ j() }}{% set y = cycler('p', 'q') %}{{ y.next() }}{{ y.next() }}{{ y.current }}{{ y.next() }}{{ strftime_now('%d %b %Y, %A') }}{{ range(200000) if n is defined }}",
    "raise": "{% if not messages or messages[0].role not in ('system', 'user') %}{{ raise_exception('Roles: ' ~ messages | length) }}{% endif %}ok",
    "switches": "{{ enable_thinking is defined and enable_thinking is false }}{{ enable_thinking | default(true) }}{{ reasoning_effort if reasoning_effort is defined else 'medium' }}{{ n | default(0) + 1 }}{{ words | default([]) | join('/') }}{{ bos_token }}{{ eos_token }}{{ documents }}{{ tools is none }}{{ sep_token is defined }}",
    "spread": "{% macro m(a, b=2, z=3) %}{{ a }}{{ b }}{{ z }}{% endmacro %}{{ m(*[1, 5]) }}{{ m(*(1,), **{'z': 9}) }}{{ m(1, **dict(b=4)) }}",
    "unknown but unused": "{{ c }}{% if wizard is defined %}{{ c | nosuchfilter }}{{ c is nosuchtest }}{% endif %}",
    "reasoning": "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }}|{{ m | list }}{% endfor %}",
}


def check(tool, name, template, given, least=0.2):
    counts, first = chat_reference.compare(tool, template, given)
    if counts["different"] or counts["unknown"] or counts["same"] < least * len(given):
        sys.exit(f"{name}: {counts}\n{first}")
    print(f"{name}: {counts['same']} conversations the same, {counts['refused by both']} refused by both", flush=True)


def table(tool, folder, given):
    paths = sorted(glob.glob(os.path.join(folder, "**", "*.jinja"), recursive=True))
    if not paths:
        sys.exit(f"{folder}: no *.jinja in it")
    same = 0
    print("| template | the same | refused by both | not known | different |\n|---|---:|---:|---:|---:|")
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            counts, first = chat_reference.compare(tool, file.read(), given)
        same += counts["different"] == 0 and counts["unknown"] == 0 and counts["same"] + counts["refused by both"] > 0
        print(f"| {os.path.basename(path)[:-6]} | " + " | ".join(str(n) for n in counts.values()) + " |", flush=True)
        if first:
            print("    " + first, file=sys.stderr)
    print(f"\n{same} of {len(paths)} templates give the same in every conversation.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool")
    parser.add_argument("--teacher")
    parser.add_argument("--folder")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    given = chat_reference.cases(args.seed, args.count)
    if args.folder:
        return table(args.tool, args.folder, given)
    for name, (_, _, template) in FAMILIES.items():
        check(args.tool, name, template, given, 0.02)
    few = given[:80]
    check(args.tool, "core", CORE, given)
    for name, template in CONSTRUCTS.items():
        check(args.tool, name, PRELUDE + template, few, 0)
    if args.teacher and os.path.exists(args.teacher):
        import gguf
        check(args.tool, "teacher", gguf.GGUFReader(args.teacher).fields["tokenizer.chat_template"].contents(), given)
    return None


main()
