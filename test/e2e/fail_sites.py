# Where the code fails: every call of fail() and of the helpers that add words to an exit code.
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


def sources():
    """The code's text by file."""
    return {path.relative_to(ROOT).as_posix(): path.read_text()
            for folder in ("compiler", "dialects", "passes", "runtime", "tools")
            for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".cpp", ".h")}


class Helpers:
    """The [[noreturn]] functions: they add words to an exit code."""

    def __init__(self, texts):
        self.texts = texts
        self.includes = {file: [name for name in re.findall(r'#include "([^"]+)"', text) if name in texts]
                         for file, text in texts.items()}
        self.declared = {file: set(re.findall(r"\[\[noreturn\]\](?: \w+)*? void (\w+)\(", text)) - {"fail"}
                         for file, text in texts.items()}
        self.names = set().union(*self.declared.values())
        self.known = {}

    def file_of(self, file, name):
        """Where the function is declared that a call in `file` means: there, or in what it includes."""
        if f"auto {name} = [" in self.texts[file]:
            return None  # a lambda
        seen, level = {file}, [file]
        while level:
            for one in level:
                if name in self.declared[one]:
                    return one
            level = [i for one in level for i in self.includes[one] if i not in seen and not seen.add(i)]
        return None

    def codes(self, file, name):
        """What a call in `file` fails with: the codes in the function's body, and those of what it calls."""
        home = self.file_of(file, name)
        if home and (home, name) not in self.known:
            codes = self.known[home, name] = set()
            for own, text in self.texts.items():
                if own != home and self.file_of(own, name) != home:
                    continue
                for match in re.finditer(rf"\bvoid (?:\w+::)*{name}\(", text):
                    body = re.match(r"(?: \w+)* \{(.*?\n?)(?:\}\n|(?<=\n)  \}\n)", text[self.end(text, match.end()):], re.S)
                    if body:
                        codes |= self.codes_in(own, body[1])
        return self.known.get((home, name), set())

    @staticmethod
    def end(text, begin):
        return begin + len(call(text, begin)) + 1

    def codes_in(self, file, body):
        calls = re.findall(r"\b(\w+)\(", body)
        codes = set(re.findall(r"ExitCode::(\w+)", body)).union(
            *(self.codes(file, name) for name in calls if name in self.names))
        return codes | ({"Resources", "Io"} if "exitCodeOf" in calls else set())


def sites():
    texts = sources()
    helpers = Helpers(texts)
    pattern = re.compile(rf"(?<!void )(?<!::)\b(fail|{'|'.join(sorted(helpers.names))})\(")
    for file, text in texts.items():
        for match in pattern.finditer(text):
            arguments = call(text, match.end())
            codes = set(re.findall(r"ExitCode::(\w+)", arguments))
            if not codes:
                codes = helpers.codes(file, match[1])
            fragments = ["".join(re.findall(LITERAL, joined[0])).replace('\\"', '"')
                         for joined in re.finditer(rf"(?:{LITERAL}\s*)+", arguments)]
            if codes:
                yield file, text[:match.start()].count("\n") + 1, codes, list(map(trimmed, fragments))


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
