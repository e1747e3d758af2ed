# Families with integer weights on the CPU. SPDX-License-Identifier: Apache-2.0
"""test_cpu_integer.py RETORT LIBRETORT [--all | FAMILY ...]

CPU kernels round activations to int8 before they multiply by integer weights, which the executor does
not. So the judge is transformers with the same rounding put before each linear layer. Weights are made
of codes and powers of two, which quantisation gives back as they are: nothing but the kernels, what
packs weights for them and the lowering can differ. All logits of prefill and decoding are compared.
Without --all the families are a few that have most ops, with a format each.
"""
import argparse
import os
import pathlib
import sys
import tempfile

import numpy as np
import torch

os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_models
import make_sparse_model
from bundles import Session, retort

# Of the root mean square of the logits. A number near the middle of two codes may become either, and
# then differs by a 127th of the largest of its group, as do all later rows of its sequence. So many rows
# agree closely, those before, and no row is far off.
CLOSE, LIMIT = 1e-4, 0.2
GROUP = 32
# Rows of each sequence in prefill, and then one by one: longer than windows and original contexts are.
PREFILL, DECODE = (8, 8, 8, 40), 6
# name -> the least and the largest code, both of which each group has.
FORMATS = {"i8g32": (-127, 127), "i4g32a": (-8, 7)}
# Its sequences end before and after its original context: transformers changes tables between them, Retort does not.
LEFT_OUT = ("phi3_long",)
SOME = ("stablelm", "phi3", "granite_swa", "muse_glimmer", "gemma4", "hunyuan", "gemma2", "cohere2")


def coded(shape, codes, rng):
    """A matrix that is codes times a power of two for each group, spread as make_models spreads."""
    least, largest = codes
    rows, columns = shape
    groups = rng.integers(least, largest + 1, (rows, columns // GROUP, GROUP)).astype(np.float32)
    # Somewhere in each group are both ends, so that its scale is the power of two.
    places = np.argsort(rng.random(groups.shape), axis=-1)
    np.put_along_axis(groups, places[..., :1], least, -1)
    np.put_along_axis(groups, places[..., 1:2], largest, -1)
    spread = 1.5 / np.sqrt(columns) / (largest - least) * 2
    exponents = np.round(np.log2(spread) + rng.random((rows, columns // GROUP, 1)) - 0.5)
    return torch.from_numpy((groups * np.exp2(exponents)).reshape(shape).astype(np.float32))


def rounded(rows):
    """As kernels/cpu rounds them: each group by its largest number, to 127 steps."""
    groups = rows.reshape(*rows.shape[:-1], -1, GROUP)
    scale = groups.abs().amax(-1, keepdim=True) / 127
    steps = torch.where(scale > 0, torch.round(groups / scale), 0)
    return (steps * scale).reshape(rows.shape)


def make(name, folder, codes):
    """The model with coded matrices, saved, and with rounding before its linear layers."""
    model = make_models.make(name, folder)
    rng = np.random.default_rng(1)
    matrices = set()
    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)) and module.weight.dim() == 2:
            matrices.add(module.weight)
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]), *inputs[1:]))
    for key, value in model.named_parameters():
        if value in matrices and "vision" not in key:
            value.data.copy_(coded(tuple(value.shape), codes, rng))
    model.save_pretrained(folder)
    return model


def run(bundle, sequences):
    """Logits of all rows, sequence by sequence: all prefills in a step, then a token of each a step."""
    logits = [[] for _ in sequences]
    with Session(LIBRARY, bundle, "cpu", slots=len(sequences)) as session:
        for step in range(DECODE + 1):
            begins = [0 if step == 0 else rows + step - 1 for rows in PREFILL]
            rows = [(token, slot) for slot, tokens in enumerate(sequences)
                    for token in tokens[begins[slot] : PREFILL[slot] + step]]  # fmt: skip
            for (_, slot), row in zip(rows, session.step(rows)):
                logits[slot].append(row)
    return np.concatenate(logits)


def check(name, number_format, folder):
    model = make(name, folder, FORMATS[number_format])
    vocab = model.config.get_text_config().vocab_size
    make_sparse_model.write_tokenizer(folder, vocab)
    bundle = folder / "integer.retort"
    passes = f"builtin.module(quantize-weights{{format={number_format}}})"
    retort(RETORT, "compile", folder, "--passes", passes, "--target", "cpu", "-q", "-o", bundle)
    rng = np.random.default_rng(2)
    sequences = [rng.integers(3, vocab, rows + DECODE).tolist() for rows in PREFILL]
    ours = run(bundle, sequences)
    with torch.no_grad():
        theirs = np.concatenate([model(torch.tensor([s])).logits[0].float().numpy() for s in sequences])
    size = float(np.sqrt(np.mean(theirs**2)))
    differences = np.abs(ours - theirs).max(-1) / size
    close = float(np.mean(differences <= CLOSE))
    print(f"{name:20} {number_format:7} {close:4.0%} of rows within {CLOSE}, median "
          f"{np.median(differences):.1e}, largest {differences.max():.1e} of the logits' {size:.1f}",
          flush=True)
    return close >= 0.25 and differences.max() <= LIMIT


def main():
    formats = list(FORMATS)
    if options.all or options.families:
        names = options.families or [name for name in make_models.MODELS if name not in LEFT_OUT]
        runs = [(name, number_format) for name in names for number_format in formats]
    else:
        runs = [(name, formats[i % len(formats)]) for i, name in enumerate(SOME)]
    # Kernels know heads of multiples of 16.
    make_models.MODELS["llama_bias"][1]["head_dim"] = 32
    failed = []
    for name, number_format in runs:
        with tempfile.TemporaryDirectory() as folder:
            if not check(name, number_format, pathlib.Path(folder)):
                failed.append(f"{name} {number_format}")
    if failed:
        sys.exit(f"differ: {', '.join(failed)}")


parser = argparse.ArgumentParser(description=__doc__)
for argument in ("retort", "libretort"):
    parser.add_argument(argument)
parser.add_argument("families", nargs="*")
parser.add_argument("--all", action="store_true", help="every family with every format")
options = parser.parse_args()
RETORT, LIBRARY = options.retort, options.libretort
main()
