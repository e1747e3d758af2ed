#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: made twice to the same bytes, judged by lintian (where it is: it brings 120 packages), installed
into a root of their own, used there, and removed without a trace.

    test_packages.py
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
failures = 0


def check(what, good, got=""):
    global failures
    if not good:
        failures += 1
        print(f"FAILED: {what}: {got}", flush=True)


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


def packages(out):
    process = run(ROOT / "scripts/package", out)
    assert process.returncode == 0, process.stderr
    return {path.name.split("_")[0]: path for path in sorted(out.iterdir())}


def files(root):
    return {str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir() and "var/lib/dpkg" not in str(p)}


def installed(work, debs):
    root = work / "root"
    for part in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / part).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    # The machine's own packages stand for what these need.
    dpkg = ["dpkg", f"--root={root}", "--force-depends", "--force-not-root", "--force-script-chrootless", "--log=/dev/null"]
    process = run(*dpkg, "--install", *debs.values())
    check("installed", process.returncode == 0, process.stderr)
    here = files(root)
    lib = next(root.glob("usr/lib/**/libretort.so")).parent
    for path in ("usr/bin/retort-serve", "usr/include/retort.h", "usr/include/retort.hpp", "lib/systemd/system/retort-serve@.service",
                 "usr/share/doc/retort-server/serve.md", str(lib.relative_to(root) / "libretort.a")):
        check("is there", path in here, path)
    process = run(root / "usr/bin/retort-serve", "--version")
    check("the server runs", process.returncode == 0 and process.stdout.startswith("retort "), process)
    check("and is small", (root / "usr/bin/retort-serve").stat().st_size < 20e6)
    # A program of somebody else's, by pkg-config and by CMake.
    environment = dict(os.environ, PKG_CONFIG_PATH=str(lib / "pkgconfig"))
    flags = run("pkg-config", "--cflags", "--libs", "retort", env=environment)
    check("pkg-config", flags.returncode == 0, flags.stderr)
    built = run("cc", ROOT / "examples/service/ask.c", "-o", work / "ask", *flags.stdout.split())
    check("a program is built", built.returncode == 0, built.stderr)
    used = run(work / "ask", env=dict(os.environ, LD_LIBRARY_PATH=str(lib)))
    check("and begins", "usage" in (used.stdout + used.stderr).lower(), used)
    cmake = run("cmake", "-S", ROOT / "examples/service", "-B", work / "cmake", f"-DCMAKE_PREFIX_PATH={root / 'usr'}",
                f"-DCMAKE_FIND_ROOT_PATH={root}")
    check("the CMake package is found", cmake.returncode == 0, cmake.stderr[-500:])
    process = run(*dpkg, "--purge", *debs)
    check("removed", process.returncode == 0, process.stderr)
    check("without a trace", not files(root), files(root))


def main():
    with tempfile.TemporaryDirectory(prefix="retort-packages-") as folder:
        work = pathlib.Path(folder)
        debs, again = packages(work / "first"), packages(work / "second")
        check("three packages", len(debs) == 3 and {"libretort-dev", "retort-server"} < set(debs), debs)
        for name, path in debs.items():
            check(f"{name} is the same each time", path.read_bytes() == again[name].read_bytes())
        if shutil.which("lintian"):
            judged = run("lintian", "--fail-on", "error", "--no-tag-display-limit", "--allow-root", *debs.values())
            check("lintian", judged.returncode == 0, judged.stdout + judged.stderr)
            print(judged.stdout)
        else:
            print("skipped: lintian is not installed")
        depends = {name: run("dpkg-deb", "-f", path, "Depends").stdout for name, path in debs.items()}
        check("the server needs a few libraries", "libssl3" in depends["retort-server"] and "libc6" in depends["retort-server"]
              and "libmlir" not in depends["retort-server"] and "libtorch" not in depends["retort-server"], depends)
        installed(work, debs)
        unit = ROOT / "packaging/retort-serve@.service"
        if shutil.which("systemd-analyze"):
            judged = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
            check("the unit's exposure is under 2.0", judged.returncode == 0, judged.stdout.splitlines()[-1:] + [judged.stderr])
        else:
            print("skipped: the unit's exposure: there is no systemd-analyze")
    print(f"{failures} failures")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
