#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recipes: files with declared parameters, which the command line shows and sets.

    test_recipes.py RETORT RETORT_OPT

Each recipe's pipeline parses in retort-opt; `--set` changes it and refuses what the recipe does not declare;
an installed program finds the recipes, also where the folder it is installed to was moved; docs/recipes.md
shows each recipe as `retort recipes NAME` prints it.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

RETORT, RETORT_OPT = sys.argv[1:]
PAGE = pathlib.Path(__file__).parents[2] / "docs/recipes.md"


def run(*command, check=True):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert not check or done.returncode == 0, (command, done.stderr)
    return done


def names():
    return [line.split()[0] for line in run(RETORT, "recipes").stdout.splitlines()]


def printed(work, *options):
    return run(RETORT, "compile", work / "teacher.gguf", "--print-pipeline", *options).stdout


def refused(work, words, *options):
    """Exit code 2 and one line with all of `words`."""
    done = run(RETORT, "compile", work / "teacher.gguf", "--print-pipeline", *options, check=False)
    line = done.stderr.strip()
    assert done.returncode == 2 and "\n" not in line, (options, done.returncode, line)
    assert all(word in line for word in words), (words, line)


def check_parsed_by_opt(work):
    for name in names():
        for options in ([], ["--baselines"]) if name == "specialist" else ([], ["--cache", "bf16"]):
            pipeline = " ".join(printed(work, "--recipe", name, *options).split())
            empty = work / "empty.mlir"
            empty.write_text("")
            dumped = run(RETORT_OPT, empty, "--allow-unregistered-dialect", "--dump-pass-pipeline",
                         "--mlir-disable-threading", "--pass-pipeline=" + pipeline, check=False).stderr
            assert "Pass Manager with" in dumped, (name, dumped)


def check_settings(work):
    specialist = ("--recipe", "specialist")
    usual = printed(work, *specialist)
    assert "keep=5.4" in usual and "name=longer" not in usual, usual
    assert printed(work, *specialist, "--set", "ffn-keep=0.54") == usual
    changed = printed(work, *specialist, "--set", "ffn-keep=0.25", "--set", "tune-tokens=7")
    assert "keep=2.5" in changed and "tokens=7" in changed, changed
    for option, setting in (("--seed", "seed=5"), ("--distill-tokens", "distill-tokens=9"), ("--cache", "cache=f32")):
        value = setting.split("=")[1]
        assert printed(work, *specialist, option, value) == printed(work, *specialist, "--set", setting) != usual, option
    assert printed(work, *specialist, "--baselines") == printed(work, *specialist, "--set", "baselines=true") != usual

    refused(work, ["specialist", "'ffn-kep'", "did you mean 'ffn-keep'?"], *specialist, "--set", "ffn-kep=0.5")
    refused(work, ["--set ffn-keep=2: not a number from 0.1 to 1"], *specialist, "--set", "ffn-keep=2")
    refused(work, ["not a number"], *specialist, "--set", "ffn-keep=nan")
    refused(work, ["--seed 1e3: not a whole number from 0 to 9223372036854775807"], *specialist, "--seed", "1e3")
    refused(work, ["write true or false"], *specialist, "--set", "baselines=yes")
    refused(work, ["write NAME=VALUE"], *specialist, "--set", "baselines")
    refused(work, ["int8", "no parameter 'seed'"], "--recipe", "int8", "--seed", "1")
    refused(work, ["--passes", "no parameter 'seed'"], "--passes", "builtin.module()", "--seed", "1")


def check_files(work):
    header = "// summary\n// parameter depth = 1: whole from 0 to 9, blocks: dropped\n// parameter on = false: flag: cut\n"
    text = "builtin.module(${if on}prune-depth{count=${depth}},${end} // a comment\n  cse,\n)\n"
    path = work / "mine.pipeline"
    path.write_text(header + text)
    assert "prune-depth" not in printed(work, "--recipe", path)
    assert "count=3" in printed(work, "--recipe", path, "--set", "depth=3", "--set", "on=true")
    described = run(RETORT, "recipes", path).stdout
    assert described.startswith("mine: summary") and "depth=1 (0 to 9, blocks)" in described, described
    for bad, words in ((header + "builtin.module(${x})", ["mine.pipeline", "'x'"]),
                       (header + "builtin.module(${deph})", ["did you mean 'depth'?"]),
                       (header + "builtin.module(${if on}cse)", ["an ${if} without its ${end}"]),
                       (header + "builtin.module(cse${end})", ["an ${end} without its ${if}"]),
                       (header + "builtin.module(${depth)", ["without its '}'"]),
                       ("// s\n// parameter a = 1: hole from 0 to 1: x\nbuiltin.module()", ["mine.pipeline:2", "write parameter NAME"]),
                       ("// s\n// parameter a = 1\nbuiltin.module()", ["mine.pipeline:2", "write parameter NAME"]),
                       ("// s\n// parameter a = 2: whole from 0 to 1: x\nbuiltin.module()", ["default of 'a'", "from 0 to 1"]),
                       ("// s\n// minutes: a\nbuiltin.module()", ["mine.pipeline:2", "write minutes: NAME, NAME, ..., after the whole parameters"]),
                       ("// s\n// budget: a in steps of 1\nbuiltin.module()", ["mine.pipeline:2", "write budget: NAME"])):
        path.write_text(bad)
        refused(work, words, "--recipe", path)


def check_budget(work):
    """--budget chooses what the recipe says that it varies, unless the user has set it."""
    command = ("compile", work / "teacher.gguf", "--corpus", work / "corpus", "--small-corpus", "--dry-run",
               "--budget", "1kB")
    line = run(RETORT, *command, "--set", "ffn-keep=0.5", "--set", "bits=4", check=False).stderr.splitlines()[-1]
    assert "raise --budget, or leave ffn-keep to it" in line, line
    line = run(RETORT, *command, "--set", "ffn-keep=0.5", check=False).stderr.splitlines()[-1]  # the bits are free
    assert "no shape meets the budget of 1.0 kB" in line, line
    line = run(RETORT, *command, "--recipe", "int8", check=False).stderr.splitlines()[-1]
    assert "or choose a recipe that makes models smaller: quantize, specialist" in line, line


def check_minutes(work):
    """--minutes multiplies what the recipe says, in proportion; more minutes are more tokens, and what is set stays."""
    command = ("compile", work / "teacher.gguf", "--corpus", work / "corpus", "--small-corpus", "--dry-run")

    def trained(minutes, *more):
        result = run(RETORT, *command, "--minutes", minutes, *more)
        return float(re.search(r"([\d.e+]+) times the recipe's tokens", result.stderr)[1])

    short, long = trained("0.5"), trained("500")
    assert short < long, (short, long)
    assert 300 < long / short < 3000 or long > 1e6, (short, long)
    line = run(RETORT, *command, "--recipe", "int8", "--minutes", "5", check=False).stderr.splitlines()[-1]
    assert "the recipe 'int8' does not train: choose one that does: quantize, specialist" in line, line
    line = run(RETORT, *command, "--minutes", "0.01", check=False).stderr.splitlines()[-1]
    assert "give it more --minutes" in line, line


def check_installed(work):
    """The recipes are found from the program's own place, through a link too."""
    listed = run(RETORT, "recipes").stdout
    build = pathlib.Path(RETORT).parents[1]
    run("cmake", "--install", build, "--component", "compiler", "--prefix", work / "prefix")
    assert run(work / "prefix/bin/retort", "recipes").stdout == listed
    (work / "prefix").rename(work / "moved")
    (work / "link").symlink_to(work / "moved/bin/retort")
    assert run(work / "link", "recipes").stdout == listed
    (work / "moved/share/retort/recipes/none.pipeline").unlink()
    assert run(work / "link", "recipes").stdout != listed, "the recipes of the build folder are read"


def check_page():
    page = PAGE.read_text()
    for line in run(RETORT, "recipes").stdout.splitlines():
        name, summary = re.match(r"(\S+) +(.*?)(?: \(the default .*\))?$", line).groups()
        assert f"| `{name}` | {summary} |" in page, line
        text = run(RETORT, "recipes", name).stdout
        shown = "".join("    " + line + "\n" if line else "\n" for line in text.splitlines())
        assert shown in page, f"docs/recipes.md does not show {name} as `retort recipes {name}` prints it:\n{shown}"


def main():
    with tempfile.TemporaryDirectory(prefix="retort-recipes-") as folder:
        work = pathlib.Path(folder)
        tiny.write_all(work)
        check_parsed_by_opt(work)
        check_settings(work)
        check_files(work)
        check_budget(work)
        check_minutes(work)
        check_installed(work)
    check_page()


if __name__ == "__main__":
    main()
