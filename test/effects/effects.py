#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every attribute, enum case and pass option has an effect.

    effects.py --tools DIR --llvm-tools DIR --include DIR --work DIR

llvm-tblgen lists what the dialects and passes define; effects.txt has witnesses for it, and says how they
are written. Both variants of a witness are run and what an observer shows of them is compared. It fails
where that is equal, where a variant does not run, where something defined has no witness, and where a
witness is for something that is not defined. Names of symbols and their visibility are exempt: that they
are unlike each other is all that they are for.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SYMBOL_NAMES = ("sym_name", "sym_visibility")

# -- what is defined ------------------------------------------------------------------------------


def records(tools, path):
    command = [tools.llvm_tools / "llvm-tblgen", "--dump-json", "-I", ROOT, "-I", tools.include, ROOT / path]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def defined(tools):
    """Names as the sections and rows of effects.txt have them, `lm.norm.eps`."""
    names = set()
    for path in ROOT.glob("dialects/*/*Ops.td"):
        all_records = records(tools, path)
        dialect = path.parent.name.lower()

        def record(reference):
            return all_records[reference["def"]]

        def is_attribute(argument):
            kind = record(argument)
            if "OpVariable" in kind["!superclasses"]:  # an Arg, which says how a buffer is touched
                kind = record(kind["constraint"])
            return "Attr" in kind["!superclasses"]

        for name in all_records["!instanceof"]["Op"]:
            op = all_records[name]
            if record(op["opDialect"])["name"] == dialect:
                names |= {f"{dialect}.{op['opName']}.{argument}"
                          for kind, argument in op["arguments"]["args"]
                          if is_attribute(kind) and argument not in SYMBOL_NAMES}
        for sigil, group in (("#", "AttrDef"), ("!", "TypeDef")):
            for name in all_records["!instanceof"].get(group, []):
                definition = all_records[name]
                # Wrappers of one value or enum: their cases, and the attributes that have them, are listed.
                if record(definition["dialect"])["name"] == dialect and \
                        not {"EnumAttr", "Retort_NamedAttr"} & set(definition["!superclasses"]):
                    names |= {f"{sigil}{dialect}.{definition['mnemonic']}.{parameter}"
                              for _, parameter in definition["parameters"]["args"]}
        for name in all_records["!instanceof"].get("EnumAttrInfo", []):
            enum = all_records[name]
            if enum["cppNamespace"] == "::retort::" + dialect:
                names |= {f"{dialect}.{enum['className']}.{record(case)['str']}" for case in enum["enumerants"]}
    for path in ROOT.glob("passes/*/Passes.td"):
        all_records = records(tools, path)
        for name in all_records["!instanceof"]["PassBase"]:
            names |= {f"{all_records[name]['argument']}.{all_records[option['def']]['argument']}"
                      for option in all_records[name]["options"]}
    return names


# -- witnesses ------------------------------------------------------------------------------------


class Observer:
    """A command on input.mlir (`opt` and `retort` are the tools, {passes} a pass row's pipeline), and what
    of its output counts: `| keep REGEX`, `| drop REGEX` of lines, or `| verdict` for its success alone."""

    def __init__(self, text):
        command, *filters = text.split(" | ")
        self.command = command.strip()
        self.verdict = "verdict" in filters
        self.filters = [part.strip().split(" ", 1) for part in filters if part != "verdict"]

    def shows(self, result):
        if self.verdict:
            return result.returncode == 0
        lines = result.stdout.splitlines()
        for kind, pattern in self.filters:
            lines = [line for line in lines if bool(re.search(pattern, line)) == (kind == "keep")]
        return lines


class Witness:
    """Two variants: of the base input, or (of a pass) of a pipeline."""

    def __init__(self, name, observer, base, changes):
        self.name, self.observer, self.base = name, observer, base
        self.variants = [[change[i] for change in changes] for i in (0, 1)]

    def __str__(self):
        return self.name + ": " + " & ".join(f"{old} => {new}" for old, new in zip(*self.variants))


def read_witnesses():
    observers, witnesses, elsewhere, section = {}, [], set(), ()
    for number, line in enumerate((HERE / "effects.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("observer "):
            name, text = line.removeprefix("observer ").split(": ", 1)
            observers[name] = Observer(text)
        elif line.startswith("elsewhere "):
            elsewhere |= set(line.split(": ")[0].split()[1:])
        elif line.startswith("["):
            section = re.fullmatch(r"\[(\S+)\] (\S+) (.+)", line).groups()
        else:
            item, text = line.split(": ", 1)
            item = item.split(" ")[0]  # `fields factor` is a witness for `fields`
            changes = [re.split(" => ?", change) for change in text.split(" & ")]
            if any(len(change) != 2 for change in changes):
                sys.exit(f"effects.txt:{number}: write OLD => NEW")
            witnesses.append(Witness(f"{section[0]}.{item}", *section[1:], changes))
    return observers, witnesses, elsewhere


class Problem(Exception):
    pass


def replaced(text, before, after, base):
    for old, new in zip(before, after):
        if old not in text:
            raise Problem(f"{base} has no '{old}'")
        text = text.replace(old, new)
    return text


class Runner:
    def __init__(self, tools, observers):
        self.tools, self.observers = tools, observers
        objects = tools.work / "objects"
        self.places = {"work": tools.work, "stats": objects / STATISTICS, "other-stats": objects / OTHER_STATISTICS,
                       "costs": ROOT / "test/passes/Quantize/Inputs/costs.json",
                       "other-costs": ROOT / "test/passes/Quantize/Inputs/costs-one.json", "costs-work": tools.work / "costs"}
        self.shown = {}  # by command and input: bases are shared

    def run(self, command, text):
        if (command, text) not in self.shown:
            folder = self.tools.work / hashlib.sha256((command + text).encode()).hexdigest()[:16]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "input.mlir").write_text(text)
            tool, *arguments = shlex.split(command)
            tool = self.tools.tools / {"opt": "retort-opt"}.get(tool, tool)
            self.shown[command, text] = subprocess.run([tool, *arguments], cwd=folder, capture_output=True,
                                                       text=True, errors="backslashreplace")
        return self.shown[command, text]

    def observe(self, witness, which):
        observer, variant = self.observers[witness.observer], witness.variants[which]
        text, command = (HERE / witness.base).read_text(), observer.command
        if "{passes}" in command:
            command = command.replace("{passes}", variant[0])
        else:
            text = replaced(text, witness.variants[0], variant, witness.base)
        for name, path in self.places.items():
            command = command.replace(f"{{{name}}}", str(path))
        result = self.run(command, text)
        if result.returncode and not observer.verdict:
            raise Problem(f"fails: {(result.stderr + result.stdout).strip().splitlines()[0]}")
        return observer.shows(result)

    def check(self, witness):
        try:
            if self.observe(witness, 0) != self.observe(witness, 1):
                return None
            return f"{witness}: no effect"
        except Problem as problem:
            return f"{witness}: {problem}"


STATISTICS, OTHER_STATISTICS = f"{1:064}.json", f"{3:064}.json"


def write_workspace(folder):
    """Objects that the inputs name: tensors for weight.load, statistics for passes that prune."""
    objects = folder / "objects"
    objects.mkdir(parents=True)
    for name, tensors in (("a", {"t": [1, 2, 3, 4], "u": [5, 6, 7, 8]}), ("b", {"t": [9, 8, 7, 6]})):
        header, data = {}, b""
        for tensor, values in tensors.items():
            header[tensor] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [len(data), len(data) + 16]}
            data += struct.pack("<4f", *values)
        text = json.dumps(header).encode()
        (objects / (name * 64 + ".safetensors")).write_bytes(struct.pack("<Q", len(text)) + text + data)
    probes = folder / "costs/objects"
    probes.mkdir(parents=True)
    for name, source in ((STATISTICS, "costs.json"), (OTHER_STATISTICS, "costs-one.json")):
        shutil.copy(ROOT / "test/passes/Quantize/Inputs" / source, probes / name)
    statistics = json.loads((ROOT / "test/passes/Prune/Inputs/stats.json").read_text())
    (objects / STATISTICS).write_text(json.dumps(statistics))
    statistics["blocks"] = dict(zip(statistics["blocks"], reversed(statistics["blocks"].values())))
    statistics["vocabulary"]["counts"][6:] = [0, 50]
    (objects / OTHER_STATISTICS).write_text(json.dumps(statistics))


def main():
    parser = argparse.ArgumentParser()
    for name in ("tools", "llvm-tools", "include", "work"):
        parser.add_argument("--" + name, type=pathlib.Path, required=True)
    parser.add_argument("--only", default="", help="witnesses whose names match this regular expression")
    tools = parser.parse_args()
    shutil.rmtree(tools.work, ignore_errors=True)
    write_workspace(tools.work)
    observers, witnesses, elsewhere = read_witnesses()
    names = defined(tools)
    witnessed = {witness.name for witness in witnesses} | elsewhere
    problems = [f"{name}: has no witness" for name in sorted(names - witnessed)]
    problems += [f"{name}: is not defined" for name in sorted(witnessed - names)]
    chosen = [witness for witness in witnesses if re.match(tools.only, witness.name)]
    runner = Runner(tools, observers)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems += filter(None, pool.map(runner.check, chosen))
    print("\n".join(problems) or f"{len(names)} attributes, cases and options have an effect")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
