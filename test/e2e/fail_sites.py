# Where the code fails: every call of fail() and refuse() that names an exit code.
# SPDX-License-Identifier: Apache-2.0
"""sites() yields (file, line, codes, fragments of the message); unknown() those that are neither seen with one
of their codes nor named by another test. A place is told by words that no other place has: a whole fragment of
its message, or three words in a row."""
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
                    yield path.relative_to(ROOT), text[:match.start()].count("\n") + 1, codes, list(map(trimmed, fragments))


def trimmed(fragment):
    return fragment.strip(" :'\"(),")


def runs(fragments):
    """Whole fragments that say enough, and every three words in a row."""
    for fragment in fragments:
        if len(fragment) >= 8:
            yield fragment
        parts = fragment.split()
        yield from (" ".join(parts[i:i + 3]) for i in range(len(parts) - 2))


def numbers():
    """The number of each exit code's name."""
    enum = re.search(r"enum class ExitCode : int \{(.*?)\};", (ROOT / "runtime/base/Error.h").read_text(), re.S)
    return {name: int(value) for name, value in re.findall(r"(\w+)\s*=\s*(\d+)", enum[1])}


def unknown(seen):
    """Places of `seen`'s (exit code, stderr) or of the other tests' texts are known, the others are yielded."""
    tests = "\n".join(p.read_text(errors="replace") for p in sorted((ROOT / "test").rglob("*"))
                      if p.suffix in (".py", ".cpp", ".h", ".mlir", ".sh", ".test", ".txt")
                      and p.name not in ("test_exit_codes.py", "fail_sites.py")).replace('\\"', '"')
    number, places = numbers(), list(sites())
    texts = ["\n".join(fragments) for _, _, _, fragments in places]
    for at, (path, line, codes, fragments) in enumerate(places):
        said = set(runs(fragments))
        # A bug's message has no test; one without words of its own passes on what another place says.
        if codes == {"Internal"} or not said:
            continue
        own = {run for run in said if not any(run in text for i, text in enumerate(texts) if i != at)}
        errors = "\n".join(text for code, text in seen if code in {number[name] for name in codes})
        # Where two places say the same, all of it has to be said.
        if not any(run in errors or run in tests for run in own) and (
                own or not all(f in errors or f in tests for f in fragments if len(f) >= 8)):
            yield path, line, codes, [f for f in fragments if f]
