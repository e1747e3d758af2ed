# What `retort inspect --phases --on` says of a model without weights, and what it refuses.
# SPDX-License-Identifier: Apache-2.0
"""test_predict.py RETORT CUDA_PREDICT"""
import json
import pathlib
import subprocess
import sys
import tempfile

RETORT, CUDA_PREDICT = sys.argv[1:]


def retort(*arguments):
    return subprocess.run([RETORT, "inspect", *arguments], capture_output=True, text=True)


def refuses(message, *arguments):
    done = retort(*arguments)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def predicted(*arguments):
    done = retort(*arguments, "--phases", "--json")
    assert done.returncode == 0, done.stderr
    programs = json.loads(done.stdout)["programs"]
    assert len({p["step"] for p in programs if "predicted" in p}) == sum("predicted" in p for p in programs)
    return {p["step"]: p.get("predicted") for p in programs if p.get("device", 0) == 0}


def lowered(model, out, passes=""):
    """The decode program, as retort-opt makes it."""
    subprocess.run([pathlib.Path(RETORT).with_name("retort-opt"), model, "-o", out, "--pass-pipeline=builtin.module(lm.model("
                    f"{passes}fuse-qkv,fuse-gate-up),lower-to-kernel{{target=cuda step=decode}},kernel.program(plan-buffers))"],
                   check=True)
    return str(out)


with tempfile.TemporaryDirectory() as folder:
    model = str(pathlib.Path(folder, "smollm2.mlir"))
    with open(model, "w") as file:
        subprocess.run([sys.executable, CUDA_PREDICT, "--emit", "smollm2-135m"], check=True, stdout=file)

    one = predicted(model, "--on", "h100")
    decode = one["decode"]
    assert decode["measured"] is False
    assert (decode["rows"], decode["context"], one["prefill"]["rows"]) == (1, 128, 512)
    # bf16: 134.5 M weights are read but for the table's gather, 2 bytes each.
    weights = sum(p["memory_bytes"] for p in decode["phases"] if not p["name"].endswith("attend"))
    assert abs(weights - 2 * 134.5e6) < 1e6, weights
    parts = sum(decode[k + "_us"] for k in ("weight", "wait", "attention", "exchange", "launch", "excess", "other"))
    assert abs(parts - decode["hidden_us"] - decode["us"]) < 1e-6 * decode["us"]
    assert sum(p["wait_us"] > 0 for p in decode["phases"]) == 5 * 30 + 1

    assert predicted(model, "--on", "h100", "--context", "8192")["decode"]["us"] > decode["us"]
    assert predicted(model, "--on", "rtx3060")["decode"]["us"] > decode["us"]

    # Two devices: both one's programs, each with half of the weights and the whole gains.
    both = predicted(model, "--on", "h100", "--devices", "2")
    two = both["decode"]
    assert two["devices"] == 2 and both["prefill"]["exchange_us"] > 0, both["prefill"]
    assert two["exchange_us"] > 0 and len(two["phases"]) == len(decode["phases"])
    # Heads are 2 + 1 and 1 + 2 in turns, so the slower GPU always has the larger part of attention.
    moved = sum(p["memory_bytes"] for p in two["phases"]) / sum(p["memory_bytes"] for p in decode["phases"])
    assert 0.5 < moved < 0.54, moved
    tiles = [p["tiles"] for p in two["phases"] if p["name"].endswith("attn_qkv")]
    assert set(tiles) == {40}, tiles  # of 60: 2 of 3 key/value heads
    parts = [lowered(model, f"{folder}/{d}.mlir", f"partition{{devices=2 device={d}}},") for d in (0, 1)]
    with open(f"{folder}/two.mlir", "w") as file:
        file.write("module {\n" + "".join(pathlib.Path(part).read_text() for part in parts) + "}\n")
    assert predicted(f"{folder}/two.mlir", "--on", "h100")["decode"] == two
    slow = predicted(model, "--on", "h100", "--devices", "2", "--assume", "peer_us:10,wait_us:0.8")["decode"]
    assert abs(slow["exchange_us"] - two["exchange_us"] - 60 * (10 - 0.8)) < 0.1, slow["exchange_us"]
    host = predicted(model, "--on", "rtx4090", "--devices", "2")["decode"]
    peer = predicted(model, "--on", "rtx4090", "--devices", "2", "--assume", "peer_access:1")["decode"]
    assert host["exchange_us"] > 3 * peer["exchange_us"]
    many = predicted(model, "--on", "h100", "--rows", "64")
    assert many["decode"] is None and many["prefill"]["rows"] == 64

    text = retort(model, "--phases", "--on", "h100").stdout
    assert "m.decode on h100, predicted, not measured: 1 row, 128 positions" in text, text
    assert "blk.29.ffn_down" in text and "% of the 3015 that can be reached" in text

    refuses("--on h10: not a known device: did you mean 'h100'? There are a100, ", model, "--phases", "--on", "h10")
    refuses("--on tpu: not a known device: there are a100, ", model, "--phases", "--on", "tpu")
    refuses("--on h100 predicts phases: add --phases", model, "--on", "h100")
    refuses("one.mlir has programs for one GPU: compile it with --devices 2",
            lowered(model, f"{folder}/one.mlir"), "--phases", "--on", "h100", "--devices", "2")
    refuses("two.mlir has programs for two GPUs: compile it with --devices 1",
            f"{folder}/two.mlir", "--phases", "--on", "h100", "--devices", "1")
    refuses("--assume wait:1: not a number of a device, as in wait_us:0.5",
            model, "--phases", "--on", "h100", "--assume", "wait:1")
    refuses("makes steps of up to 512 rows", model, "--phases", "--on", "h100", "--rows", "513")
print("predictions: ok")
