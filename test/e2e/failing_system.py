# A system that refuses: its calls, its CUDA driver, its compiler.
# SPDX-License-Identifier: Apache-2.0
import errno
import pathlib
import shutil

from bundles import FAKE_NVCC, rehashed
from failing import BAD_INPUT, INTERNAL, IO, OK, RESOURCES, UNSUPPORTED, USAGE


def calls(b):
    """Each call of the system that may fail, made to (failing_calls.cpp)."""
    good, hf, out = b.work / "good.retort", b.work / "hf", b.work / "refused"

    def fails(call, file, error, code, words, *arguments):
        b.expect(f"{call} of {file}", code, words, *arguments, before=f"export LD_PRELOAD={b.failing_calls} RETORT_FAIL_CALL={call} "
                 f"RETORT_FAIL_FILE={file} RETORT_FAIL_ERROR={error};")
        if out.exists() or [p for p in b.work.iterdir() if "refused" in p.name and p.name != "refused.mlir"]:
            b.failures += 1
            print(f"FAILED: {call} of {file} left something behind")

    imports = ("import", hf, "-o", out)
    fails("fsync", "", errno.ENOSPC, RESOURCES, "the disk is full", *imports)
    fails("fsync", "", errno.EIO, IO, "refused: cannot be made durable: Input/output error", *imports)
    fails("linkat", "refused", errno.EIO, IO, "refused: cannot be named: Input/output error", *imports)
    fails("rename", "refused", errno.EROFS, IO, "refused: cannot be named: Read-only file system", *imports)
    folder = ("compile", hf, "--recipe", "int8", "-q", "-o")
    fails("rename", "refused", errno.EROFS, IO, "refused: cannot be named: Read-only file system", *folder, f"{out}/")
    b.expect("a bundle that is a folder", OK, "", *folder, f"{b.work / 'kept'}/")
    fails("renameat2", "kept", errno.EINVAL, IO, "kept: cannot be replaced: Invalid argument", *folder, f"{b.work / 'kept'}/", "--force")
    b.expect("it is kept", OK, "", "inspect", b.work / "kept")
    fails("statvfs", "", errno.EIO, IO, "its free space cannot be read", *folder, out, "--corpus", b.work / "corpus", "--small-corpus")
    fails("fsync_folder", "workspace", errno.EIO, IO, "cannot be flushed to the disk", "compile", hf, "-q", "-o", out, "--corpus",
          b.work / "corpus", "--small-corpus", "--passes", "builtin.module(insert-score{tokens=700},run-data-work)")
    fails("mmap", "model.safetensors", errno.ENOMEM, RESOURCES, "model.safetensors: cannot be mapped", *imports)
    run = ("run", good, "-p", "x", "-n", "1")
    fails("memfd_create", "retort-program", errno.EMFILE, RESOURCES, "no anonymous file for program.so", *run)
    fails("seal", "retort-program", errno.EPERM, IO, "program.so cannot be sealed", *run)
    fails("mmap", "retort-program", errno.ENOMEM, RESOURCES, "program.so cannot be mapped", *run)
    fails("duplicate", "retort-program", errno.EMFILE, RESOURCES, "no file number for program.so", "eval", good, "--against", good,
          "--corpus", b.work / "corpus")


def drivers(b):
    """CUDA drivers that do not start; needs the bundle for a GPU."""
    place = b.work / "driver"
    place.mkdir()
    for what, library, error, words in (
            ("without a GPU", b.failing_driver, 100, "the driver finds no NVIDIA GPU"),
            ("that does not start", b.failing_driver, 999, "the CUDA driver does not start: CUDA error 999: see what nvidia-smi says"),
            ("that is too old", "/lib/x86_64-linux-gnu/libm.so.6", 0, "the CUDA driver is too old, it has no cuInit: install version")):
        (place / "libcuda.so.1").unlink(missing_ok=True)
        (place / "libcuda.so.1").symlink_to(library)
        b.expect(f"a driver {what}", UNSUPPORTED, words, "run", b.work / "cuda.retort", "--device", "cuda", "-p", "x",
                 before=f"export LD_LIBRARY_PATH={place} RETORT_FAIL_ERROR={error};")
    # A toolkit whose last step fails.
    toolkit = b.work / "nvcc"
    shutil.copytree(FAKE_NVCC.parent, toolkit)
    for line, code, words in (("nvcc fatal : no such thing", UNSUPPORTED, "for example g"),
                              ("error: No space left on device", RESOURCES, "fatbinary: the disk of temporary files is full"),
                              ("fatbinary error: it broke", INTERNAL, r"it broke \(exit code 3\)")):
        (toolkit / "fatbinary").write_text(f"#!/bin/sh\necho '{line}'\nexit 3\n")
        b.compile(f"fatbinary says {line}", code, words, b.work / "hf", "--recipe", "int4", "--target", "cuda:sm_80",
                  before=f"export CUDACXX={toolkit / FAKE_NVCC.name};")


def installations(b):
    """A program without what is installed beside it."""
    alone = b.work / "alone"
    (alone / "share/retort/recipes").mkdir(parents=True)
    (alone / "bin").mkdir()
    shutil.copy(b.retort, alone / "bin")
    libraries = pathlib.Path(b.retort).parent.parent / "lib"
    for corpus, words in (([], "without a corpus"), (["--corpus", b.work / "corpus", "--small-corpus"], "with a corpus")):
        b.compile(f"no recipes, {words}", USAGE, f"has no recipe for a compile {words}: name a recipe", b.work / "hf", *corpus,
                  before=f'export LD_LIBRARY_PATH={libraries}; exec {alone}/bin/retort "$@";')


def servers(b):
    b.expect("a server of a file without a name", USAGE, "'=' is not FILE or NAME=FILE", "serve", "=")
    b.expect("a cache of no size", USAGE, "'5 XB' is not a size: write for example 100MB", "serve", b.work / "good.retort", "--cache", "5 XB")
    folder = b.work / "without words"
    b.run("compile", b.work / "hf", "-o", f"{folder}/", "--recipe", "int8")
    for part in ("tokenizer.bin", "tokenizer.json"):
        (folder / part).unlink()
    rehashed(folder)
    b.expect("a server of a model without a tokenizer", UNSUPPORTED, "has no tokenizer, and a server reads text", "serve", folder,
             "--port", "0")
