#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""prune-vocabulary against Hugging Face tokenizers: the kept tokens are still reached.

Trains a byte-level BPE on text, prunes its vocabulary with retort-opt, rebuilds a tokenizer from what is
left, and checks that every kept token that was reached by merges before is reached after, and that every
text stays encodable.

usage: test_prune_vocabulary.py RETORT_OPT TEXT... [--gguf FILE]   (with --gguf: that vocabulary, timed)
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = "<|end|>"


def byte_level(model):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def trained(text):
    tokenizer = byte_level(models.BPE())
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=4000, special_tokens=[SPECIAL], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def of_gguf(path):
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    text = lambda name: [bytes(fields[name].parts[i]).decode() for i in fields[name].data]
    tokens = text("tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in text("tokenizer.ggml.merges")]
    return {token: i for i, token in enumerate(tokens)}, merges


def prune(retort_opt, vocab, merges, counts, keep, max_tokens):
    """The kept ids, ascending, and the seconds it took."""
    size = len(vocab)
    stats = {"format": "retort-stats-1", "tokens": sum(counts), "vocabulary": {
        "counts": counts, "keep": keep,
        "merges": [[vocab[a], vocab[b], vocab[a + b]] for a, b in merges]}}
    module = f"""lm.model @teacher family "llama" context 64 vocab {size} hidden 8 {{
      lm.param @token_embd.weight : tensor<{size}x8xf32> {{
        %0 = weight.load "token_embd.weight" stored "F32" : tensor<{size}x8xf32>
        weight.yield %0 : tensor<{size}x8xf32>
      }}
      lm.forward {{
      ^bb0(%tokens: tensor<?xi32>):
        %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
        %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x{size}xf32>
        lm.return %l : tensor<?x{size}xf32>
      }}
    }}"""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(stats, file)
        file.flush()
        start = time.time()
        result = subprocess.run(
            [retort_opt, f"--prune-vocabulary=stats={file.name} max-tokens={max_tokens} multiple=1"],
            input=module, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    indices = re.search(r"array<i32: ([0-9, ]+)>", result.stdout)
    return [int(i) for i in indices[1].split(",")], time.time() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("retort_opt")
    parser.add_argument("text", nargs="+")
    parser.add_argument("--gguf")
    parser.add_argument("--max-tokens", type=int, default=1200)
    args = parser.parse_args()
    texts = [pathlib.Path(t).read_text(errors="replace") for t in args.text]
    vocab, merges = of_gguf(args.gguf) if args.gguf else trained("\n".join(texts))
    full = byte_level(models.BPE(vocab=vocab, merges=merges))

    # The field: the first text alone.
    counts = [0] * len(vocab)
    for i in full.encode(texts[0]).ids:
        counts[i] += 1
    made = {a + b for a, b in merges}
    keep = [i for token, i in vocab.items() if token not in made]
    kept, seconds = prune(args.retort_opt, vocab, merges, counts, keep, args.max_tokens)
    assert kept == sorted(set(kept)) and set(keep) <= set(kept) and len(kept) <= args.max_tokens

    names = {i: token for token, i in vocab.items()}
    new_vocab = {names[i]: n for n, i in enumerate(kept)}
    new_merges = [(a, b) for a, b in merges
                  if a in new_vocab and b in new_vocab and a + b in new_vocab]
    pruned = byte_level(models.BPE(vocab=new_vocab, merges=new_merges))
    reached = 0
    for i in kept:
        text = full.decode([i], skip_special_tokens=False)
        if full.encode(text).ids != [i]:
            continue  # a piece of a character, or one that the pre-tokenizer cuts
        reached += 1
        assert pruned.encode(text).ids == [new_vocab[names[i]]], f"token {i} {text!r} is lost"
    assert reached > len(kept) / 2
    for text in texts:
        assert pruned.decode(pruned.encode(text).ids) == text
    more = len(pruned.encode(texts[0]).ids) / len(full.encode(texts[0]).ids)
    print(f"{len(vocab)} tokens to {len(kept)}, {reached} reached by merges; the field's text has "
          f"{more:.3f} times the tokens; {seconds:.2f} s")


if __name__ == "__main__":
    main()
