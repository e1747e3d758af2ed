#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Structured output against the jsonschema package: answers of a random model under each of some hundred
schemas are valid; instances are accepted exactly where jsonschema finds them valid (of those that are written
as docs/serve.md says). And the openai package with a pydantic model.

    test_structured.py RETORT LIBRETORT
"""
import concurrent.futures
import ctypes
import json
import pathlib
import random
import re
import sys
import tempfile
import time
import typing

import jsonschema
import openai
import pydantic

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from test_serve import HELLO, Server, Test

SCHEMAS = 320
FORMATS = jsonschema.FormatChecker(["date", "email", "ipv4", "ipv6", "uuid"])
SOON = {} # tokens that end values: the model is random, and short answers are likely then


class Library:
    """Grammars through the C API."""

    def __init__(self, path, bundle):
        self.c = ctypes.CDLL(str(path))
        self.c.retort_matcher_accept.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        self.error = ctypes.create_string_buffer(1024)
        self.model = ctypes.c_void_p()
        assert self.c.retort_model_open(str(bundle).encode(), None, ctypes.byref(self.model), self.error) == 0

    def tokens(self, text):
        data = text.encode()
        buffer, count = (ctypes.c_int32 * (3 * len(data) + 16))(), ctypes.c_size_t()
        assert self.c.retort_tokenize(self.model, data, ctypes.c_size_t(len(data)), 1, buffer, ctypes.c_size_t(len(buffer)),
                                      ctypes.byref(count), self.error) == 0
        return buffer[:count.value]

    def compile(self, text, kind=0):
        data, grammar = text.encode(), ctypes.c_void_p()
        status = self.c.retort_grammar_create(self.model, kind, data, ctypes.c_size_t(len(data)), ctypes.byref(grammar),
                                              self.error)
        return grammar if status == 0 else self.error.value.decode()

    def meets(self, grammar, text):
        matcher = ctypes.c_void_p()
        assert self.c.retort_matcher_create(grammar, None, ctypes.c_size_t(0), ctypes.byref(matcher), self.error) == 0
        good = all(self.c.retort_matcher_accept(matcher, token) == 0 for token in self.tokens(text))
        good = good and self.c.retort_matcher_complete(matcher) == 1
        self.c.retort_matcher_destroy(matcher)
        return good


class Made:
    """Schemas from a seed, and values for them."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def schema(self, depth=3):
        r = self.rng
        kinds = ["null", "boolean", "integer", "number", "string", "enum", "const", "format", "pattern"]
        kinds += ["object", "object", "array", "anyOf", "oneOf", "allOf", "types"] * (depth > 0)
        kind = r.choice(kinds)
        if kind in ("null", "boolean"):
            return {"type": kind}
        if kind in ("integer", "number"):
            low, high = sorted(r.randrange(-300, 300) for _ in range(2))
            if kind == "number" and r.random() < 0.5:
                low, high = low / 8, high / 8 + 0.5
            schema = {"type": kind}
            if r.random() < 0.7:
                schema[r.choice(["minimum", "exclusiveMinimum"])] = low
            if r.random() < 0.7:
                schema[r.choice(["maximum", "exclusiveMaximum"])] = high + 3
            return schema
        if kind == "string":
            low = r.randrange(4)
            return {"type": "string", "minLength": low, "maxLength": low + r.randrange(8)}
        if kind == "enum":
            return {"enum": r.sample([1, "a", "é\"\n", None, True, 2.5, [1, 2], {"k": "v"}, "", "abc", -7], 3)}
        if kind == "const":
            return {"const": r.choice(["x", 3, None, False, ["a", {}], "über"])}
        if kind == "format":
            return {"type": "string", "format": r.choice(["date", "email", "ipv4", "ipv6", "uuid"])}
        if kind == "pattern":
            return {"type": "string", "pattern": r.choice(["^[a-z]{2,4}$", "^\\d+-\\d+$", "^(ab|cd)*e?$", "^[^\"]{0,3}$"])}
        if kind == "array":
            schema = {"type": "array", "items": self.schema(depth - 1), "maxItems": r.randrange(4)}
            if r.random() < 0.5:
                schema["minItems"] = r.randrange(schema["maxItems"] + 1)
            if r.random() < 0.3:
                schema["prefixItems"] = [self.schema(0), self.schema(0)]
            return schema
        if kind == "object":
            names = r.sample(["a", "b", "name", "né", "x\"y", "id", "value"], r.randrange(1, 4))
            return {"type": "object", "properties": {name: self.schema(depth - 1) for name in names},
                    "required": r.sample(names, r.randrange(len(names) + 1)),
                    "additionalProperties": r.choice([False, False, {"type": "integer"}])}
        if kind == "anyOf":
            return {"anyOf": [self.schema(depth - 1) for _ in range(r.randrange(1, 4))]}
        if kind == "oneOf":
            return {"oneOf": [{"type": "integer", "minimum": 5}, {"type": "object", "properties": {
                "k": {"const": "a"}, "v": self.schema(depth - 1)}, "required": ["k"], "additionalProperties": False},
                {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"], "additionalProperties": False}]}
        if kind == "allOf":
            return {"allOf": [{"type": ["integer", "null"]}, {"minimum": r.randrange(-9, 9)}, {"maximum": r.randrange(10, 99)}]}
        return {"type": r.sample(["null", "boolean", "integer", "string"], 2), "maxLength": 3, "minimum": 0}

    def value(self, schema):
        """Often valid."""
        r = self.rng
        if r.random() < 0.06:
            return r.choice([None, True, 0, -1, 1.5, "", "zz", [], {}, [1], {"a": 1}, "2024-02-30"])
        if "enum" in schema:
            return r.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        for name in ("anyOf", "oneOf"):
            if name in schema:
                return self.value(r.choice(schema[name]))
        if "allOf" in schema:
            return r.choice([None, r.randrange(-10, 110)])
        kind = schema["type"] if isinstance(schema["type"], str) else r.choice(schema["type"])
        if kind == "null":
            return None
        if kind == "boolean":
            return r.random() < 0.5
        if kind in ("integer", "number"):
            low = schema.get("minimum", schema.get("exclusiveMinimum", -400))
            high = schema.get("maximum", schema.get("exclusiveMaximum", 400))
            value = r.choice([low, high, low - 1, high + 1, (low + high) / 2])
            return round(value) if kind == "integer" else round(value, 4)
        if kind == "array":
            items = [self.value(s) for s in schema.get("prefixItems", [])]
            items += [self.value(schema["items"]) for _ in range(r.randrange(5))]
            return items[:r.randrange(6)]
        if kind == "object":
            result = {name: self.value(s) for name, s in schema["properties"].items()
                      if name in schema["required"] or r.random() < 0.5}
            if r.random() < 0.2:
                result[r.choice(["other", "n", "names", ""])] = r.choice([1, "x"])
            return result
        if "format" in schema:
            return r.choice({"date": ["2026-11-30", "2024-02-29", "2023-02-29", "x"], "email": ["a.b@example.org", "none"],
                             "ipv4": ["10.0.0.1", "256.1.1.1"], "ipv6": ["1:2:3:4:5:6:7:8", "1:2"],
                             "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123"]}[schema["format"]])
        if "pattern" in schema:
            return r.choice(["ab", "abcd", "abcde", "12-3", "-", "abcdabe", "", "é", "\"", "eab"])
        return "".join(r.choice("ab é€😀\"\\\n\t") for _ in range(r.randrange(schema.get("maxLength", 9) + 2)))


TABLE = [
    {"type": "object"}, {"type": "array", "items": {"type": "integer"}}, {"type": "string"}, {"type": "number"},
    {"$defs": {"t": {"type": "object", "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 99}, "c": {
        "type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 2}}, "required": ["v"], "additionalProperties": False}},
     "$ref": "#/$defs/t"},
    {"$defs": {"l": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"n": {"$ref": "#/$defs/l"}},
                                                  "required": ["n"], "additionalProperties": False}]}}, "$ref": "#/$defs/l"},
    {"type": "object", "additionalProperties": {"type": "boolean"}},
    {"type": "object", "properties": {"when": {"type": "string", "format": "date-time"}}, "required": ["when"],
     "additionalProperties": False},
]


def instances(t, library):
    """Values against jsonschema."""
    compared = {True: 0, False: 0}
    for seed in range(SCHEMAS):
        made = Made(seed)
        schema = made.schema()
        grammar = library.compile(json.dumps(schema))
        if isinstance(grammar, str):
            t.check("a schema that nothing meets", "no text can ever meet it" in grammar, (schema, grammar))
            continue
        judge = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
        for _ in range(12):
            value = made.value(schema)
            text = json.dumps(value, ensure_ascii=False, indent=made.rng.choice([None, 2]))
            if re.search(r"\d\.0\b", text): # an integer to jsonschema; Retort writes those without a point
                continue
            good = judge.is_valid(value)
            compared[good] += 1
            t.check("an instance", library.meets(grammar, text) == good, (schema, text, good))
            if value != "":
                t.check("half of one", not library.meets(grammar, text[:-1] + "\x01"), (schema, text))
        library.c.retort_grammar_destroy(grammar)
    t.check("many of both", min(compared.values()) > SCHEMAS, compared)


def answers(t):
    """What a random model writes under each schema."""
    schemas = TABLE + [Made(seed).schema() for seed in range(SCHEMAS)]
    with Server(t, "--slots", 16) as s:
        def ask(number):
            schema = schemas[number]
            try:
                answer = s.chat(max_tokens=600, seed=number, logit_bias=SOON, response_format={
                    "type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}})
            except openai.BadRequestError as error:
                return schema, None, str(error)
            return schema, answer.choices[0], ""
        ended = 0
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for schema, choice, error in pool.map(ask, range(len(schemas))):
                if choice is None:
                    t.check("what nothing meets", "no text can ever meet it" in error, (schema, error))
                elif choice.finish_reason == "stop":
                    ended += 1
                    try:
                        value = json.loads(choice.message.content)
                        jsonschema.Draft202012Validator(schema, format_checker=FORMATS).validate(value)
                    except (ValueError, jsonschema.ValidationError) as why:
                        t.check("an answer", False, (schema, choice.message.content, why))
        t.check("most answers end", ended > 0.9 * len(schemas), ended)


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=12)
    age: int = pydantic.Field(ge=0, le=130)
    role: typing.Literal["author", "reader"]
    tags: list[str] = pydantic.Field(max_length=2)
    boss: typing.Optional["Person"]


def clients(t):
    with Server(t) as s:
        answer = s.client.chat.completions.parse(model="m", messages=HELLO, response_format=Person, max_tokens=900, seed=4,
                                                 logit_bias=SOON)
        person = answer.choices[0].message.parsed
        t.check("a pydantic model", isinstance(person, Person) and 0 <= person.age <= 130, answer)
        pattern = s.chat(extra_body={"structured_outputs": {"regex": "[a-f]{2,4}-(x|yy)"}}, seed=1, temperature=2)
        t.check("a pattern", re.fullmatch("[a-f]{2,4}-(x|yy)", pattern.choices[0].message.content), pattern)
        chunks = s.chat(extra_body={"structured_outputs": {"choice": ["left", "right"]}}, n=4, seed=1, stream=True)
        texts = ["", "", "", ""]
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        t.check("choices, streamed", set(texts) <= {"left", "right"}, texts)
        for _ in range(3):
            made = s.chat(response_format={"type": "json_object"}, max_tokens=600, logit_bias=SOON)
            if made.choices[0].finish_reason == "stop":
                t.check("an object", isinstance(json.loads(made.choices[0].message.content), dict), made)
        t.refused("a keyword", openai.BadRequestError, lambda: s.chat(response_format={"type": "json_schema", "json_schema": {
            "name": "n", "schema": {"type": "object", "properties": {"a": {"not": {}}}}}}),
            "response_format.json_schema.schema: /properties/a/not is not supported")
        start = time.time()
        t.refused("a schema that explodes", openai.BadRequestError, lambda: s.chat(response_format={
            "type": "json_schema", "json_schema": {"name": "n", "schema": {
                "type": "string", "pattern": "^(a|b)*a(a|b){24}$"}}}), "it takes more than",
            "ask for less, with smaller counts or fewer alternatives")
        t.check("is refused soon", time.time() - start < 10)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="retort-structured-") as work:
        test = Test(sys.argv[1], pathlib.Path(work))
        library = Library(sys.argv[2], test.bundle)
        SOON.update({str(library.tokens(text)[0]): 6 for text in '"]}'})
        instances(test, library)
        answers(test)
        clients(test)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
