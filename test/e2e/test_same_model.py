# One model as a Hugging Face folder and as GGUF: ids, prompts, logits. SPDX-License-Identifier: Apache-2.0
"""test_same_model.py RETORT EXECUTOR_TOOL LIBRARY

Makes a random llama with a tokenizer and two chat templates, writes it in both formats, and has Retort
render conversations and compute logits from each: the same text, the same ids as transformers', and
logits within 1e-3 of transformers'.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import make_models
import torch
import transformers
from test_logits import LIMIT, executor_logits, transformers_logits, worst
from test_tokenizer import LLAMA3, sentences
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIAL = ["<pad>", "<s>", "</s>", "<|turn|>"]
TURNS = (
    "{{ bos_token }}{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content | trim }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
TOOLS = "{{ bos_token }}{{ tools | tojson }}\n" + TURNS.removeprefix("{{ bos_token }}")
CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "How do I open(2) a file?"}]},
    {"messages": [{"role": "system", "content": " Be brief. "},
                  {"role": "user", "content": "naïve café </s> <|turn|> 日本語 3.14159"},
                  {"role": "assistant", "content": "don't"},
                  {"role": "user", "content": "  I'LL\n\n\ttry  "}]},
    {"messages": [{"role": "user", "content": "What is the time?"}],
     "tools": [{"type": "function", "function": {"name": "now", "parameters": {}}}]},
]  # fmt: skip


def write_tokenizer(folder):
    tok = Tokenizer(models.BPE(ignore_merges=True))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])  # fmt: skip
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(sentences(1, 500), trainers.BpeTrainer(
        vocab_size=make_models.VOCAB - len(SPECIAL), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    tok.add_special_tokens(SPECIAL)
    start = tok.token_to_id("<s>")
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tok, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.save_pretrained(str(folder))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = [
        {"name": "default", "template": TURNS}, {"name": "tool_use", "template": TOOLS}
    ]  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def rendered(retort, model, conversation, work):
    path = work / "conversation.json"
    path.write_text(json.dumps(conversation))
    done = subprocess.run([retort, "chat-render", model, path, "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def main():
    retort, tool, library = sys.argv[1:4]
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        folder, file = work / "model", work / "model.gguf"
        model = make_models.make("llama3_rope", folder)
        tokenizer = write_tokenizer(folder)
        make_models.write_gguf(folder, file, pre="llama-bpe")
        sequences = []
        for conversation in CONVERSATIONS:
            first, second = (rendered(retort, source, conversation, work) for source in (folder, file))
            assert first == second, (first, second)
            text = tokenizer.apply_chat_template(
                conversation["messages"], tools=conversation.get("tools"), tokenize=False,
                add_generation_prompt=True)  # fmt: skip
            assert first["text"] == text, (first["text"], text)
            sequences.append([first["tokens"]])
        # Without special tokens in what a user writes, transformers' ids are these too.
        plain = CONVERSATIONS[0]
        theirs = tokenizer.apply_chat_template(plain["messages"], add_generation_prompt=True, return_dict=False)
        assert sequences[0][0] == theirs, (sequences[0][0], theirs)
        reference = transformers_logits(model, sequences)
        for source in (folder, file):
            ours = executor_logits(tool, library, source, sequences, make_models.VOCAB, work)
            assert worst(source.name, ours, reference) <= LIMIT
    print(f"{len(CONVERSATIONS)} conversations: one text, the same ids and logits from both formats")


if __name__ == "__main__":
    main()
