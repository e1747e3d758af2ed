#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What examples/deploy makes: the image's file system, served from as the image would be (a user of its own, nothing that
can be written, no shell); the images themselves where podman or buildah is; the manifests for Kubernetes.

    test_deploy.py RETORT RETORT_SERVE
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from test_serve import Test

DEPLOY = pathlib.Path(__file__).parents[2] / "examples" / "deploy"
MOST_BYTES = 60_000_000
KUBERNETES = "1.31"
# The root is a copy of what was mounted, read only; /proc is where a process finds itself.
INSIDE = """
mount --bind "$1" "$1" && mount --rbind /proc "$1/proc" && mount --bind "$2" "$1/models" &&
mount -o remount,ro,bind "$1" && mount -o remount,ro,bind "$1/models" &&
exec chroot --userspec=65532:65532 "$1" /usr/bin/retort-serve /models/m.retort --port 0
"""


def file_system(t, server):
    root = t.work / "rootfs"
    made = subprocess.run([DEPLOY / "rootfs", server, root], capture_output=True, text=True)
    t.check("made", made.returncode == 0 and not made.stderr, made.stderr)
    again = subprocess.run([DEPLOY / "rootfs", server, root], capture_output=True, text=True)
    t.check("nothing is overwritten", again.returncode == 2 and "is there already" in again.stderr, again)
    files = [path for path in root.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    t.check("small", size < MOST_BYTES, size)
    t.check("no shell, nothing that gives rights", not [path for path in files if path.name in ("sh", "bash", "busybox")
                                                        or path.stat().st_mode & 0o6000], files)
    print(f"the image's files: {size / 1e6:.1f} MB, {len(files)} of them")
    return root


def served(t, root):
    """As the image would be run."""
    models = t.work / "models"
    models.mkdir()
    shutil.copy(t.bundle, models / "m.retort")
    t.work.chmod(0o755)
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", INSIDE, "sh", root, models], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if not line.startswith("retort serve: "):
        process.kill()
        error = process.stderr.read()
        if os.geteuid() != 0 or "mount" in error or "unshare" in error:
            return print(f"skipped: the image's files were not run: {error.strip() or 'only root may mount'}")
        return t.check("it runs", False, error)
    try:
        url = line.split()[4]
        body = json.dumps({"prompt": "a", "max_tokens": 3}).encode()
        reply = json.load(urllib.request.urlopen(urllib.request.Request(url + "/v1/completions", body), timeout=60))
        t.check("it answers", reply["usage"]["completion_tokens"] == 3, reply)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        t.check("as nobody", re.search(r"^Uid:\s+65532\s+65532\s", status, re.M), status)
    finally:
        process.terminate()
        t.check("and ends", process.wait(30) == 0)


def images(t, root):
    tool = next((name for name in ("podman", "buildah") if shutil.which(name)), None)
    if not tool:
        return print("skipped: neither podman nor buildah is installed: no image was built")
    context = t.work / "context"
    context.mkdir()
    root.rename(context / "rootfs")
    for target in ("server", "cuda"):
        built = subprocess.run([tool, "build", "--target", target, "-t", f"retort-test-{target}", "-f", DEPLOY / "Containerfile", context],
                               capture_output=True, text=True)
        if built.returncode:
            return print(f"skipped: {tool} builds no image here: {built.stderr.strip().splitlines()[-1]}")
    if tool == "podman":
        run = subprocess.run(["podman", "run", "--rm", "--read-only", "retort-test-server", "--version"], capture_output=True, text=True)
        t.check("the image runs", run.stdout.startswith("retort ") or "skipped" in run.stderr, run)
        subprocess.run(["podman", "rmi", "retort-test-server", "retort-test-cuda"], capture_output=True)


def manifests(t, server):
    documents = {d["kind"]: d for d in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}
    t.check("all are there", set(documents) == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}, documents)
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    options = subprocess.run([server, "--help"], capture_output=True, text=True).stdout
    t.check("options are known", all(re.search(rf"^ +{arg} ", options, re.M) for arg in container["args"] if arg.startswith("--")))
    drain = int(container["args"][container["args"].index("--drain") + 1])
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    t.check("a pod has time to drain", pod["terminationGracePeriodSeconds"] > drain + sleep)
    t.check("probes", [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")]
            == ["/health", "/health", "/live"])
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    t.check("selectors", documents["Service"]["spec"]["selector"] == labels
            and documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels)
    try:
        import kubernetes_validate
    except ImportError:
        return print("skipped: the package kubernetes-validate is not installed: no manifest was compared with the schemas")
    for kind, document in documents.items():
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except Exception as error:
            t.check(kind, False, error)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="retort-deploy-") as work:
        test = Test(sys.argv[1], pathlib.Path(work))
        root = file_system(test, sys.argv[2])
        served(test, root)
        manifests(test, sys.argv[2])
        images(test, root)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
