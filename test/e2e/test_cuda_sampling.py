# Tokens that simulated GPUs draw, against the host's sampler on the same GPUs' logits.
# SPDX-License-Identifier: Apache-2.0
"""test_cuda_sampling.py RETORT LIBRETORT TEACHER

1. Of a tiny model, compiled for one GPU and for two, in both forms: prefill of 40 and 70 rows and decoding of 1 to 16
   rows, each row with a sampler of its own, greedy ones among them. The tokens are those that the host's samplers pick
   from the logits that the same steps give, the GPUs send 8 bytes a row, and the simulator's checks find nothing; with
   peer access and without, in several orders of CTAs and warps.
   So it is on the CPU, from its logits.
2. `retort run` with a seed: both forms give the same text. One GPU and two, whose logits differ in their last bits,
   draw the same tokens with the same seeds but for near-ties.
3. The same for a prompt and some tokens of TEACHER (SmolLM2), on one GPU.
"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from bundles import Sampler, Session, Sim, Timer, retort
from thorough import often

RETORT, LIBRARY, TEACHER = sys.argv[1:]
# temperature, top_p, top_k
CHOICES = [(1.0, 0, 0), (0.7, 0.9, 0), (0.0, 0, 0), (1.3, 0.95, 40), (5.0, 0, 3), (0.2, 0.5, 0), (100.0, 0, 0), (0.8, 0.999, 7)]
LEAST_SAME = 58  # of 64
TEXT = ["-p", "NAME\n       opens", "-n", "24", "--temperature", "0.9", "--top-p", "0.95", "--seed", "5"]


def compile_bundle(folder, teacher, name, *more):
    path = folder / f"{name}.retort"
    with Timer(f"compile {name}"):
        retort(RETORT, "compile", teacher, "--recipe", "int4", "-q", "-o", path, *more)
    return path


def samplers(seed):
    return [Sampler(LIBRARY, *CHOICES[i % len(CHOICES)], seed=seed + i) for i in range(70)]


def drive(bundle, device, steps):
    """Drawn tokens of `steps`, (rows, wanted) each, compared with the host's draws from the same logits."""
    same = 0
    with Session(LIBRARY, bundle, device, slots=3) as logits, Session(LIBRARY, bundle, device, slots=3) as drawn:
        ours, theirs = samplers(1), samplers(1)
        for number, (rows, wanted) in enumerate(steps):
            given = logits.step(rows, wanted)
            logits.counters()
            tokens = drawn.sample(rows, ours[: len(wanted)], wanted)
            if device != "cpu":
                sent = drawn.counters()["to_host_bytes"]
                assert sent == 8 * len(wanted), f"{bundle.stem}: step {number} sent {sent} bytes for {len(wanted)} rows"
            picked = [sampler.sample(row) for sampler, row in zip(theirs, given)]
            assert tokens == picked, f"{bundle.stem} on {device}: step {number} drew {tokens}, the host {picked}"
            same += len(tokens)
    return same


def tiny_steps():
    token = lambda i: (i * 37 + 11) % 300
    yield [(token(i), 0) for i in range(70)], list(range(0, 70, 3))
    yield [(token(i), 1 + i % 2) for i in range(40)], [39]
    for rows in (1, 2, 3, 8, 9, 16):
        yield [(token(7 * i + rows), i % 3) for i in range(rows)], list(range(rows))


def no_findings(sim, what):
    report = sim.report()
    assert not report["findings"], f"{what}: {report['findings'][:3]}"
    sim.clear()


def text_of(bundle, device):
    return retort(RETORT, "run", bundle, "--device", device, *TEXT, RETORT_SIM_DEVICES="2").stdout


def check_tiny(sim, folder):
    tiny.write_all(folder / "tiny")
    teacher = folder / "tiny" / "teacher.gguf"
    bundles = [compile_bundle(folder, teacher, f"{devices}-{form}", "--form", form, "--devices", devices, "--target",
                              "cuda:sm_80" if devices == "2" else "cpu,cuda:sm_80")
               for devices in ("1", "2") for form in ("persistent", "graph")]
    for peers, seed, check in often([(1, 0, 1), (0, 4, 0)], [(1, 0, 1), (1, 3, 0), (0, 4, 0)]):
        sim.set(peers=peers, seed=seed, check=check)
        for bundle in bundles if peers else bundles[2:]:
            with Timer(f"{bundle.stem}, {'' if peers else 'no '}peers, seed {seed}"):
                count = drive(bundle, f"sim:{bundle.stem[0]}", list(tiny_steps()))
            no_findings(sim, bundle.stem)
            print(f"{bundle.stem}: {count} tokens are the host's", flush=True)
    sim.set(peers=1, seed=0, check=0)
    print(f"cpu: {drive(bundles[0], 'cpu', list(tiny_steps())[2:])} tokens are the host's", flush=True)
    texts = [text_of(bundle, f"sim:{bundle.stem[0]}") for bundle in bundles]
    assert texts[0] == texts[1] and texts[2] == texts[3] and texts[0] and texts[2], texts
    check_agreement(bundles)


def check_agreement(bundles):
    """One GPU's logits and two GPUs' differ in their last bits: the same seeds draw the same but for near-ties."""
    drawn = {}
    for name, bundle, device in (("one GPU", bundles[0], "sim"), ("two GPUs", bundles[2], "sim:2")):
        with Session(LIBRARY, bundle, device) as session:
            picks = [Sampler(LIBRARY, 0.9, 0.95, 0, seed=i) for i in range(64)]
            drawn[name] = session.sample([((i * 29 + 5) % 300, 0) for i in range(64)], picks)
    same = sum(a == b for a, b in zip(*drawn.values()))
    print(f"one GPU and two: {same} of 64 drawn tokens are the same", flush=True)
    assert same >= LEAST_SAME, drawn


def check_teacher(folder):
    bundle = compile_bundle(folder, TEACHER, "smollm2", "--target", "cuda:sm_80")
    with Session(LIBRARY, bundle, "sim") as session:
        prompt = session.tokenize("A page of memory that several processes share is copied when one of them first")
    steps = [([(token, 0) for token in prompt], [0, len(prompt) - 1])]
    steps += [([(prompt[i], slot) for slot in range(2)], [0, 1]) for i in (3, 1)]
    with Timer("SmolLM2"):
        print(f"SmolLM2: {drive(bundle, 'sim', steps)} tokens are the host's")


def main():
    sim = Sim(LIBRARY)
    sim.set(devices=2)
    with tempfile.TemporaryDirectory() as name, Timer("all"):
        check_tiny(sim, pathlib.Path(name))
        check_teacher(pathlib.Path(name))


main()
