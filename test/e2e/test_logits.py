# Executor logits in float32 against transformers, for each family. SPDX-License-Identifier: Apache-2.0
"""test_logits.py EXECUTOR_TOOL LIBRARY [GGUF]

Makes small random models with transformers and compares the logits of whole documents and of packed
ones, from the safetensors and from the GGUF of the same weights. With GGUF, a llama-family teacher,
compares it too, dequantised by the gguf package into a transformers model. At most 1e-3 may differ.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_models

LIMIT = 1e-3


def executor_logits(tool, library, checkpoint, sequences, vocab, folder):
    lines = []
    for documents in sequences:
        lines.append(" ".join("| " + " ".join(map(str, tokens)) for tokens in documents))
    (folder / "sequences").write_text("\n".join(lines) + "\n")
    out = folder / "logits"
    subprocess.run(
        [tool, library, checkpoint, "logits", "f32", folder / "sequences", out], check=True
    )
    return torch.from_numpy(np.fromfile(out, np.float32)).view(-1, vocab)


def transformers_logits(model, sequences):
    rows = []
    with torch.no_grad():
        for documents in sequences:
            for tokens in documents:
                rows.append(model(torch.tensor([tokens])).logits[0].float())
    return torch.cat(rows)


def worst(name, ours, theirs):
    difference = (ours - theirs).abs().max().item()
    agree = (ours.argmax(1) == theirs.argmax(1)).float().mean().item()
    print(f"{name:24} max difference {difference:.2e}  largest logit {theirs.abs().max():.1f}"
          f"  same top-1 {agree:.4f}", flush=True)
    return difference


def random_sequences(vocab, lengths, seed):
    generator = np.random.default_rng(seed)
    return [[generator.integers(3, vocab, n).tolist() for n in one] for one in lengths]


def teacher_of(path):
    """The weights that the gguf package reads, in a transformers model."""
    import gguf
    import transformers

    reader = gguf.GGUFReader(path)
    number = lambda key: reader.fields["llama." + key].contents()
    heads, kv_heads = number("attention.head_count"), number("attention.head_count_kv")
    tensors = {
        t.name: torch.from_numpy(
            gguf.quants.dequantize(t.data, t.tensor_type).reshape(list(t.shape[::-1])).copy()
        )
        for t in reader.tensors
    }
    config = transformers.LlamaConfig(
        vocab_size=tensors["token_embd.weight"].shape[0],
        hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"),
        num_hidden_layers=number("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=number("context_length"),
        rms_norm_eps=number("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": number("rope.freq_base")},
        tie_word_embeddings="output.weight" not in tensors,
    )
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    outer = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    state = {}
    for name, value in tensors.items():
        if name in outer:
            state[outer[name]] = value
            continue
        _, block, part, _ = name.split(".")
        if part in ("attn_q", "attn_k"):  # llama.cpp keeps the pairs of a rotation together
            n = heads if part == "attn_q" else kv_heads
            shape = (n, value.shape[0] // n // 2, 2, value.shape[1])
            value = value.reshape(shape).swapaxes(1, 2).reshape(value.shape)
        state[f"model.layers.{block}.{names[part]}.weight"] = value
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and missing in ([], ["lm_head.weight"]), (missing, unexpected)
    return model.eval()


# transformers takes LongRoPE's other table for shorter texts than the original context.
LENGTHS = {"phi3_long": [[100], [40, 50], [200]]}


def main():
    tool, library = sys.argv[1:3]
    failed = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for model_name in make_models.MODELS:
            directory = folder / model_name
            directory.mkdir()
            model = make_models.make(model_name, directory)
            vocab = model.config.get_text_config().vocab_size
            lengths = LENGTHS.get(model_name, [[1], [100], [7, 40, 1, 33], [200]])
            sequences = random_sequences(vocab, lengths, 1)
            theirs = transformers_logits(model, sequences)
            checkpoints = {model_name: directory}
            if model_name not in make_models.WITHOUT_GGUF:
                make_models.write_gguf(directory, folder / f"{model_name}.gguf")
                checkpoints[model_name + ".gguf"] = folder / f"{model_name}.gguf"
            for label, checkpoint in checkpoints.items():
                ours = executor_logits(tool, library, checkpoint, sequences, vocab, folder)
                if not worst(label, ours, theirs) <= LIMIT:
                    failed.append(label)
        if len(sys.argv) > 3 and pathlib.Path(sys.argv[3]).exists():
            path = pathlib.Path(sys.argv[3]).resolve()
            model = teacher_of(path)
            vocab = model.config.vocab_size
            sequences = random_sequences(vocab, [[64], [30, 20]], 2)
            ours = executor_logits(tool, library, path, sequences, vocab, folder)
            if not worst(path.name, ours, transformers_logits(model, sequences)) <= LIMIT:
                failed.append(path.name)
    if failed:
        sys.exit(f"more than {LIMIT} differs: {', '.join(failed)}")


if __name__ == "__main__":
    main()
