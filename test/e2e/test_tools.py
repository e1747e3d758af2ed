#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls of functions through the openai package: a random model's calls are valid by construction, as the
jsonschema and pydantic packages judge. The calls begin with a special token, as Mistral's do.

    test_tools.py RETORT
"""
import json
import pathlib
import sys
import tempfile
import typing

import jsonschema
import openai
import pydantic

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from test_serve import HELLO, Server, Test

TEMPLATE = (
    "{% if tools %}{{ '<|im_start|>tools\n' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['tool_calls'] %}{{ (m['content'] or '') + '[TOOL_CALLS][' }}{% for c in m['tool_calls'] %}"
    "{{ '{\"name\": \"' + c['function']['name'] + '\", \"arguments\": ' + (c['function']['arguments'] | tojson) + "
    "', \"id\": \"' + c['id'] + '\"}' + ('' if loop.last else ', ') }}{% endfor %}{{ ']' }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
MOVE = {"type": "object", "properties": {"where": {"enum": ["up", "down"]}, "steps": {"type": "integer", "minimum": 1, "maximum": 9},
                                         "why": {"type": "string", "maxLength": 8}},
        "required": ["where", "steps"], "additionalProperties": False}
NOW = {"type": "object", "properties": {}, "additionalProperties": False}


def function(name, schema, **more):
    return {"type": "function", "function": {"name": name, "description": "a function", "parameters": schema} | more}


TOOLS = [function("move", MOVE, strict=True), function("now", NOW)]
SOON = {} # biases: the model is random, and short answers are likely then
FLAT = [{"type": "function"} | tool["function"] | {"strict": True} for tool in TOOLS]


def check_calls(t, what, calls):
    """Each call is one of TOOLS, with arguments that its schema allows."""
    for name, arguments in calls:
        schema = {"move": MOVE, "now": NOW}.get(name)
        try:
            jsonschema.validate(json.loads(arguments), schema)
        except (ValueError, jsonschema.ValidationError) as why:
            t.check(what, False, (name, arguments, why))


def ask(s, **fields):
    return s.chat(**{"max_tokens": 400, "tools": TOOLS, "logit_bias": SOON} | fields)


def joined(chunks):
    """A stream's content, calls and end."""
    content, calls, finish = "", {}, None
    for chunk in chunks:
        choice = chunk.choices[0]
        content += choice.delta.content or ""
        for delta in choice.delta.tool_calls or []:
            if delta.id:
                calls[delta.index] = [delta.function.name, ""]
            calls[delta.index][1] += delta.function.arguments or ""
        finish = choice.finish_reason or finish
    return content, [tuple(calls[i]) for i in sorted(calls)], finish


def pairs(message):
    return [(call.function.name, call.function.arguments) for call in message.tool_calls or []]


def chats(t, s):
    names = set()
    for seed in range(12):
        answer = ask(s, tool_choice="required", seed=seed)
        message, finish = answer.choices[0].message, answer.choices[0].finish_reason
        t.check("calls", finish == "tool_calls" and message.content is None and message.tool_calls, answer)
        t.check("ids as the template has them", all(len(call.id) == 9 for call in message.tool_calls), answer)
        check_calls(t, "arguments", pairs(message))
        names |= {name for name, _ in pairs(message)}
        if seed < 4:
            stream = joined(ask(s, tool_choice="required", seed=seed, stream=True))
            t.check("a stream says the same", stream == ("", pairs(message), "tool_calls"), (stream, message))
    t.check("any of the functions", names == {"move", "now"}, names)
    for name in ("move", "now"):
        one = ask(s, tool_choice={"type": "function", "function": {"name": name}}, parallel_tool_calls=False,
                     n=3, seed=1)
        t.check("the one that is named, once", [[n for n, _ in pairs(c.message)] for c in one.choices] == [[name]] * 3, one)
    cut = ask(s, tool_choice="required", seed=1, max_tokens=9)
    t.check("a call that is cut", cut.choices[0].finish_reason == "length", cut)


def choice(t, s):
    """The model decides, here by a bias."""
    begin = s.client.post("/../tokenize", cast_to=object, body={"messages": [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "function": {"name": "now", "arguments": "{}"}}]}],
        "return_token_strs": True})
    token = str(begin["tokens"][begin["token_strs"].index("[TOOL_CALLS]")])
    called = ask(s, seed=1, logit_bias=SOON | {token: 100})
    t.check("calls", called.choices[0].finish_reason == "tool_calls", called)
    check_calls(t, "arguments", pairs(called.choices[0].message))
    text = ask(s, seed=1, max_tokens=20, logit_bias=SOON | {token: -100})
    t.check("text", not text.choices[0].message.tool_calls and text.choices[0].message.content, text)
    stream = joined(ask(s, seed=1, max_tokens=20, logit_bias=SOON | {token: -100}, stream=True))
    t.check("text, streamed", stream == (text.choices[0].message.content, [], "length"), stream)
    none = ask(s, tool_choice="none", seed=1, max_tokens=20)
    t.check("none", none.choices[0].message.content == s.chat(seed=1, max_tokens=20, logit_bias=SOON).choices[0].message.content, none)
    made = ask(s, seed=1, logit_bias=SOON | {token: -100}, response_format={
        "type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": ["a", "b"]}}})
    t.check("or what a format allows", made.choices[0].message.content in ('"a"', '"b"'), made)


def conversation(t, s):
    """Calls and results go back to the template."""
    message = ask(s, tool_choice="required", seed=2).choices[0].message
    history = [*HELLO, message.to_dict(), *({"role": "tool", "tool_call_id": call.id, "content": "done"} for call in message.tool_calls)]
    again = s.client.chat.completions.create(model="m", messages=history, tools=TOOLS, max_tokens=4)
    t.check("goes on", again.usage.completion_tokens == 4, again)
    text = s.client.post("/../apply-template", cast_to=object, body={"messages": history, "tools": TOOLS})["prompt"]
    made = ", ".join('{"name": "%s", "arguments": %s, "id": "%s"}' % (name, json.dumps(json.loads(arguments), ensure_ascii=False), call.id)
                     for (name, arguments), call in zip(pairs(message), message.tool_calls))
    t.check("the template sees objects", f"assistant\n[TOOL_CALLS][{made}]<|im_end|>" in text and "done" in text, (made, text))


class Move(pydantic.BaseModel):
    where: typing.Literal["up", "down"]
    steps: int = pydantic.Field(ge=1, le=9)


def helpers(t, s):
    """What the package has for pydantic models."""
    tools = [openai.pydantic_function_tool(Move)]
    answer = s.client.chat.completions.parse(model="m", messages=HELLO, tools=tools, tool_choice="required", max_tokens=400,
                                             logit_bias=SOON)
    parsed = [call.function.parsed_arguments for call in answer.choices[0].message.tool_calls]
    t.check("a pydantic model", parsed and all(isinstance(p, Move) for p in parsed), answer)
    with s.client.chat.completions.stream(model="m", messages=HELLO, tools=tools, tool_choice="required", max_tokens=400,
                                             logit_bias=SOON) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    t.check("its streams", "tool_calls.function.arguments.done" in kinds and final.finish_reason == "tool_calls"
            and all(isinstance(call.function.parsed_arguments, Move) for call in final.message.tool_calls), (kinds, final))


def responses(t, s):
    ask = lambda **fields: s.client.responses.create(model="m", store=False, max_output_tokens=400, tools=FLAT,
                                                     extra_body={"seed": 5, "logit_bias": SOON}, **fields)
    whole = ask(input="hello", tool_choice="required")
    calls = [(item.name, item.arguments) for item in whole.output]
    t.check("calls", whole.status == "completed" and calls and {item.type for item in whole.output} == {"function_call"}, whole)
    check_calls(t, "arguments", calls)
    streamed, arguments = [], ""
    for event in ask(input="hello", tool_choice="required", stream=True):
        if event.type == "response.function_call_arguments.delta":
            arguments += event.delta
        if event.type == "response.function_call_arguments.done":
            t.check("deltas make the arguments", event.arguments == arguments, event)
            arguments = ""
        if event.type == "response.output_item.done":
            streamed.append((event.item.name, event.item.arguments))
    t.check("a stream says the same", streamed == calls == [(i.name, i.arguments) for i in event.response.output], streamed)
    again = ask(input=[{"role": "user", "content": "hello"}, *[item.to_dict() for item in whole.output],
                       *({"type": "function_call_output", "call_id": item.call_id, "output": "done"} for item in whole.output)],
                tool_choice={"type": "function", "name": "now"}, parallel_tool_calls=False)
    t.check("a conversation that goes on", [item.name for item in again.output] == ["now"], again)
    made = s.client.responses.create(model="m", store=False, input="hello", text={"format": {
        "type": "json_schema", "name": "n", "schema": {"enum": ["a", "b"]}, "strict": True}})
    t.check("a format", made.output_text.strip() in ('"a"', '"b"') and made.text.format.type == "json_schema", made)


def refusals(t, s):
    odd = {"type": "object", "properties": {"a": {"not": {}}}}
    t.refused("a schema that is not supported", openai.BadRequestError,
              lambda: ask(s, tools=[TOOLS[1], function("odd", odd, strict=True)]),
              "tools[1].function.parameters: /properties/a/not is not supported")
    loose = ask(s, tools=[function("odd", odd)], tool_choice="required", max_tokens=9)
    t.check("any object where it is not strict", loose.choices[0].finish_reason == "length", loose)
    t.refused("no such function", openai.BadRequestError, lambda: s.chat(
        tools=TOOLS, tool_choice={"type": "function", "function": {"name": "go"}}), "tool_choice", "go")
    t.refused("no functions", openai.BadRequestError, lambda: s.chat(tool_choice="required"), "tool_choice")


if __name__ == "__main__":
    tiny.SPECIALS = [*tiny.SPECIALS, "[TOOL_CALLS]"]
    with tempfile.TemporaryDirectory(prefix="retort-tools-") as work:
        test = Test(sys.argv[1], pathlib.Path(work), TEMPLATE)
        with Server(test) as server:
            for text, bias in {'"': 6, "]": 6, "}": 6, "\n": -20}.items():
                tokens = server.client.post("/../tokenize", cast_to=object, body={"prompt": text})["tokens"]
                SOON[str(tokens[0])] = bias
            for part in (chats, choice, conversation, helpers, responses, refusals):
                part(test, server)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
