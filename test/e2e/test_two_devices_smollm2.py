# SmolLM2 int4 cut over two simulated GPUs: its text, what each GPU reads, and what the simulator finds.
# SPDX-License-Identifier: Apache-2.0
"""test_two_devices_smollm2.py RETORT LIBRETORT EXECUTOR_TOOL LIBRETORT_TORCH TEACHER

1. As test_cuda_sim.py on one GPU: greedy text (4 tokens, 10 if thorough), after a prompt that went through prefill and one that
   went through decode, is the CPU program's up to near-ties, and logits are as near to the executor's. Both forms, with
   peer access and through host memory, give the same bits.
2. By the simulator's counters each GPU reads at most 0.52 of the weights that one GPU alone reads in a decoding
   step, and waits at most 5 times a layer.
3. The simulator's checks find nothing in prefill, and in decoding with peer access and without.
"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from bundles import Session, Sim, Timer
from smollm2 import MOST_WAITS, PROMPT, Tools, check_text, compile_bundle, no_findings, sim_logits
from thorough import often

TOOLS = Tools(*sys.argv[1:])
MOST_SHARE = 0.52
TWO = "sim:2"


def counted_step(sim, bundle, device):
    """What a decoding step of one row counts."""
    sim.set(count=1)
    with Session(TOOLS.library, bundle, device) as session:
        session.step([(504, 0)])
        session.counters()
        with Timer(f"{bundle.stem}: a step of one row, counted"):
            session.step([(282, 0)])
        counted = session.counters()
        blocks = session.manifest["model"]["blocks"]
    sim.set(count=0)
    return {region["name"]: region["read"] for region in counted["memory"]}, counted["waits"], blocks


def check_counters(sim, one, bundles):
    whole = counted_step(sim, one, "sim")[0]["weights"]["bytes"]
    for bundle in bundles:
        memory, waits, blocks = counted_step(sim, bundle, TWO)
        for device in (0, 1):
            weights = memory[f"weights.{device}"]
            share = weights["bytes"] / whole
            print(f"{bundle.stem}, GPU {device}: {weights['bytes']} bytes of weights read, {share:.4f} of {whole}; "
                  f"{waits} waits of both GPUs", flush=True)
            assert 0.45 < share <= MOST_SHARE, f"GPU {device} reads {share} of the weights"
        if bundle.stem == "persistent":  # a graph's launches are no waits
            assert waits <= 2 * (MOST_WAITS * blocks + 1), waits


def check_findings(sim, bundle):
    sim.set(check=1)
    for peers in (1, 0):
        sim.set(peers=peers)
        with Session(TOOLS.library, bundle, TWO, slots=2) as session:
            if peers:
                with Timer("17 rows of prefill, checked"):
                    session.step([(504 + i, 0) for i in range(17)], [16])
            with Timer("steps of two rows, checked"):
                for token in often([282], [282, 2355]):
                    session.step([(token, 0), (504, 1)])
        no_findings(sim, f"{bundle.stem}, {'peers' if peers else 'host memory'}")
    sim.set(check=0, peers=1)


def check_orders(sim, bundles):
    """Each form with and without peer access, in another order of CTAs, for a few steps: the same bits."""
    def bits(bundle):
        with Session(TOOLS.library, bundle, TWO) as session:
            return session.step([(504, 0), (2355, 0)]).tobytes() + session.step([(282, 0)]).tobytes()

    first = bits(bundles[0])
    orders = [(bundles[0], 0, 5), (bundles[1], 1, 6), (bundles[1], 0, 0), (bundles[0], 1, 7)]
    for bundle, peers, seed in often(orders[:2], orders):
        sim.set(peers=peers, seed=seed)
        assert bits(bundle) == first, f"{bundle.stem}, peers {peers}, seed {seed}: other bits"
    sim.set(peers=1, seed=0)
    print("both forms, with and without peer access, in other orders: the same bits", flush=True)


def main():
    sim = Sim(TOOLS.library)
    sim.set(devices=2)
    with tempfile.TemporaryDirectory() as name, Timer("all"):
        folder = pathlib.Path(name)
        one = compile_bundle(TOOLS, folder, TOOLS.teacher, "one", "cpu,cuda:sm_90", "--form", "persistent")
        bundles = [compile_bundle(TOOLS, folder, TOOLS.teacher, form, "cuda:sm_90", "--devices", "2", "--form", form)
                   for form in ("persistent", "graph")]
        check_counters(sim, one, bundles)
        check_findings(sim, bundles[0])
        check_orders(sim, bundles)

        def run(bundle, peers):
            def logits(prompt, tokens):
                sim.set(peers=peers)
                return sim_logits(TOOLS, bundle, prompt, tokens, TWO)
            return logits

        check_text(TOOLS, folder, one, {"persistent with peers": run(bundles[0], 1),
                                        "graph through host memory": run(bundles[1], 0)}, count=often(4, 10))


if __name__ == "__main__":
    main()
