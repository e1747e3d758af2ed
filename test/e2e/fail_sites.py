# Where the code fails: every call of fail() and refuse() that names an exit code.
# SPDX-License-Identifier: Apache-2.0
"""sites() yields (file, line, codes, fragments of the message); unknown() those whose words are neither in
`seen`, the lines that a test saw, nor in another test's text."""
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
LITERAL = r'"((?:[^"\\]|\\.)*)"'


def call(text, begin):
    """The arguments of a call whose parenthesis opens before `begin`."""
    depth, at, quoted = 1, begin, False
    while depth and at < len(text):
        c = text[at]
        if quoted:
            at += c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        else:
            depth += (c == "(") - (c == ")")
        at += 1
    return text[begin:at - 1]


def sites():
    for folder in ("compiler", "runtime/base", "runtime/src", "tools/retort"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".cpp", ".h"):
                continue
            text = path.read_text()
            for match in re.finditer(r"\b(?:fail|refuse)\(", text):
                arguments = call(text, match.end())
                codes = set(re.findall(r"ExitCode::(\w+)", arguments))
                fragments = ["".join(re.findall(LITERAL, joined[0])).replace('\\"', '"')
                             for joined in re.finditer(rf"(?:{LITERAL}\s*)+", arguments)]
                if codes:
                    yield path.relative_to(ROOT), text[:match.start()].count("\n") + 1, codes, fragments


def words(fragment):
    """What is looked for: the fragment, if it says enough, else nothing."""
    fragment = fragment.strip(" :'\"(),")
    return fragment if len(fragment) >= 8 else ""


def unknown(seen):
    seen = "\n".join(seen)
    tests = "\n".join(p.read_text(errors="replace") for p in sorted((ROOT / "test").rglob("*"))
                      if p.suffix in (".py", ".cpp", ".h", ".mlir", ".sh", ".test", ".txt")
                      and p.name != "test_exit_codes.py").replace('\\"', '"')

    def known(fragment):
        if fragment in seen or fragment in tests:
            return True
        parts = fragment.split()  # a test may name a few words of it
        return any(" ".join(parts[i:i + 3]) in tests for i in range(len(parts) - 2))

    for path, line, codes, fragments in sites():
        said = [w for w in map(words, fragments) if w]
        # A bug's message has no test; one without words of its own passes on what another place says.
        if codes != {"Internal"} and said and not any(map(known, said)):
            yield path, line, codes, said
