#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes HtmlEntities.inc: the named character references of HTML 5 (html.spec.whatwg.org, section
13.5), as Python's html.entities has them. Names that old pages may end without ';' stand twice.

    HtmlEntities.py > HtmlEntities.inc
"""
import html.entities


def literal(text):
    # Bytes in octal, three digits each: no digit that follows is taken for a part of one.
    return '"' + "".join(f"\\{b:03o}" for b in text.encode()) + '"'


print("// Made by HtmlEntities.py. clang-format off")
for name, text in sorted(html.entities.html5.items(), key=lambda item: item[0].encode()):
    print(f'{{"{name}", {literal(text)}}},')
