#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Retort's tokenizer against Hugging Face `tokenizers`: the same ids, text for text.

    test_tokenizer.py TOOL [--teacher FILE.gguf] [--strings N] [--kinds K,...] [--work DIR]

For each kind of vocabulary, N seeded strings (6,000; 50,000 if thorough), its tokens and all of Unicode: vocabulary words, code, CJK, emoji,
combining marks, every code point, spaces, control characters, special tokens with stripping, random
unicode and invalid UTF-8. Both sides encode them; both decode the ids; valid text must come back.
The reference is built with tokenizers' own Python API from the same source, not through Retort; the
tokenizer.json that Retort writes is loaded into tokenizers as well and must agree too.

Needs: tokenizers; gguf for the kind smollm2. Vocabularies of the other kinds are trained here on
generated text, so nothing is fetched. generators: after llama.cpp's tests/test-tokenizer-random.py.
"""
import argparse
import json
import os
import random
import struct
import subprocess
import sys
import time

from thorough import often
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# -- texts ---------------------------------------------------------------------------------------

WORDS = """the of and to in is that for it was on are with as be this have from or by not but what all were
when can there use an each which their said if will way about many then them write would like so these her long
make thing see him two has look more day could go come did number sound no most people my over know water than
call first who may down side been now find any new work part take get place made live where after back little only
round man year came show every good me give our under name very through just form sentence great think say help low
line differ turn cause much mean before move right boy old too same tell does set three want air well also play
small end put home read hand port large spell add even land here must big high such follow act why ask men change
went light kind off need house picture try us again animal point mother world near build self earth father
naïve café Straße façade über señor Ångström jalapeño smörgåsbord don't can't I'll we've they're it's you'd I'm
int return void const struct static std::vector malloc printf() open(2) errno EINVAL O_RDONLY mmap sigaction
def lambda import self.__init__ None True False yield async await x=1 i++ a->b *p &q !x x==y a!=b <<= >>= 0x7fff
/usr/include/linux/fs.h http://example.com/a?b=c&d=e user@example.com 1234567890 3.14159 -42 1e-10 2024-07-26
""".split()
CJK = "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周保达办运武半候七必城父强步完革深区即求品士转量空甚众技轻程告江语英基派满式李息写呢识极令黄德收脸钱党倒未持取设始版双历越史商千片容研像找友孩站广改议形委早房音火际则首单据导影失拿网香似斯专石若兵弟谁校读志飞观争究包组造落视济喜离虽坏兴のはをにがでとたしれさるいもなあらりっ日本語東京カタカナ한국어조선말"
EMOJI = ["😀", "😂", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵", "❤️", "☃", "🤷🏻‍♀️", "🧑🏿‍🚀", "#️⃣", "🫠", "🪿", "‍", "️"]
COMBINING = [chr(c) for c in list(range(0x300, 0x370)) + list(range(0x591, 0x5C8)) + list(range(0x64B, 0x660)) +
             [0x93C, 0x94D, 0x9BC, 0xE38, 0xE48, 0x1DF6, 0x20D0, 0x3099, 0xFE20, 0x1133B, 0x1D165]]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", "\v", "\f", "\x85", "\xa0", " ", " ", " ",
          "　", "​", "\ufeff", " \n", "\n ", "\t\t", " \t\n"]
APOSTROPHES = ["'s", "'S", "'t", "'re", "'RE", "'Ve", "'ll", "'LL", "'d", "'m", "'ſ", "'", "’s", "''", "'l", "'r"]


def code_point(rng):
    while True:
        top = rng.choice((0x80, 0x250, 0x800, 0x3000, 0x10000, 0x20000, 0x30000, 0x110000))
        c = rng.randrange(top)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def composable(rng):
    """Letters and marks in arbitrary order, Hangul jamo, characters that NFC takes apart."""
    pool = rng.choice((COMBINING, "aeiouAEIOUnNcC", [chr(c) for c in range(0x1100, 0x1200)],
                       [chr(c) for c in range(0xAC00, 0xAC40)], "Å≠ḍ̇q̣̇שׂ´Åﬁ각", "िৗ"))
    return "".join(rng.choice(pool) for _ in range(rng.randint(1, 5)))


class Texts:
    """Seeded strings; `vocab` are words of the vocabulary as text, `specials` its added tokens."""

    def __init__(self, seed, vocab, specials):
        self.rng, self.vocab, self.specials = random.Random(seed), vocab, specials
        self.kinds = [self.words, self.vocab_words, self.code, self.cjk, self.emoji, self.combining,
                      self.spaces, self.control, self.special, self.apostrophes, self.random_unicode,
                      self.digits, self.mixed, self.runs, self.composing]

    def join(self, items, most, glue=(" ", " ", "", "  ", "\n")):
        rng = self.rng
        return "".join(rng.choice(items) + rng.choice(glue) for _ in range(rng.randint(1, most)))

    def words(self): return self.join(WORDS, 12)
    def vocab_words(self): return self.join(self.vocab, 10, ("", "", " "))
    def code(self): return self.join(WORDS[-60:] + list("{}()[];,.<>+-*/=&|!~^%#@\"'\\`$_"), 20, ("", " ", "\n    ", "\t"))
    def cjk(self): return self.join(CJK, 12, ("", "", "，", "。", " ", "a"))
    def emoji(self): return self.join(EMOJI + WORDS[:20], 8, ("", " "))
    def combining(self): return self.join(COMBINING + list("aeiouznक한"), 12, ("", "", " "))
    def spaces(self): return self.join(SPACES + ["a", "1", "."], 12, ("",))
    def control(self): return self.join([chr(c) for c in range(32)] + [chr(c) for c in range(127, 161)] + ["x"], 12, ("",))
    def special(self): return self.join(self.specials + SPACES[:8] + WORDS[:30], 10, ("", " ", "  ", "\n"))
    def apostrophes(self): return self.join(APOSTROPHES + WORDS[:30], 8, ("", " "))
    def random_unicode(self): return "".join(code_point(self.rng) for _ in range(self.rng.randint(1, 12)))
    def digits(self): return self.join(list("0123456789٣५Ⅷ½²৪๑𝟘") + ["a", ".", ","], 14, ("", "", "", " "))
    def mixed(self): return "".join(self.rng.choice(self.kinds[:12])() for _ in range(2))
    def runs(self): return "".join(self.rng.choice(SPACES + list("aA1.é한́")) * self.rng.randint(1, 70)
                                   for _ in range(self.rng.randint(1, 3)))
    def composing(self): return "".join(composable(self.rng) for _ in range(self.rng.randint(1, 5)))

    def one(self):
        return self.rng.choice(self.kinds)()

    def broken(self):
        """Bytes that are not UTF-8."""
        data = bytearray(self.one().encode())
        for _ in range(self.rng.randint(1, 4)):
            at = self.rng.randint(0, len(data))
            what = self.rng.randrange(3)
            if what == 0:
                data[at:at] = bytes([self.rng.randrange(128, 256)])
            elif what == 1:
                del data[at:at + 1]
            else:
                data[at:at + 1] = self.rng.choice((b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe0\x80", b"\xff"))
        return bytes(data)


def sentences(seed, count):
    texts = Texts(seed, WORDS, [""])
    for _ in range(count):
        yield texts.rng.choice((texts.words, texts.code, texts.cjk, texts.words, texts.emoji))()


# -- kinds of vocabulary: the file for Retort, and tokenizers' own --------------------------------

SPECIALS = [AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False)]
STRIPPING = [AddedToken("<mask>", lstrip=True, special=True, normalized=False),
             AddedToken("<end>", rstrip=True, special=True, normalized=False),
             AddedToken("<both>", lstrip=True, rstrip=True, special=True, normalized=False),
             AddedToken("<one>", single_word=True, special=False, normalized=False),
             AddedToken("zebra", single_word=True, special=False, normalized=True),
             AddedToken("quag ga", special=False, normalized=True),
             AddedToken("<|im_start|>", special=True, normalized=False),
             AddedToken("<|im", special=False, normalized=False)]


def from_api(tokenizer, work, name):
    path = os.path.join(work, name + ".json")
    tokenizer.save(path)
    return path, tokenizer


def byte_level(pattern, nfc, ignore_merges, work, name):
    tok = Tokenizer(models.BPE())
    if nfc:
        tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(sentences(1, 20000), trainers.BpeTrainer(
        vocab_size=3000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if ignore_merges:  # words that no merge makes
        data = json.loads(tok.to_str())
        data["model"]["ignore_merges"] = True
        for word in ("Vi\u00e1\u00bb\u0129t", "\u0120quixotic", "zzz"):
            data["model"]["vocab"].setdefault(word, len(data["model"]["vocab"]))
        tok = Tokenizer.from_str(json.dumps(data))
    tok.add_special_tokens(SPECIALS + [t for t in STRIPPING if t.special])
    tok.add_tokens([t for t in STRIPPING if not t.special])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tok.token_to_id("<s>"))])
    return from_api(tok, work, name)


def gpt2(work, name):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=True)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(sentences(2, 20000), trainers.BpeTrainer(
        vocab_size=3000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok.add_special_tokens(SPECIALS + [t for t in STRIPPING if t.special])
    tok.add_tokens([t for t in STRIPPING if not t.special])
    return from_api(tok, work, name)


BYTES = ["<0x%02X>" % b for b in range(256)]


def sentencepiece_bpe(work, name, gemma):
    """Llama 2's and Gemma's form: no pre-tokeniser, U+2581 for spaces, bytes as fallback."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never" if gemma else "always")
    trained.train_from_iterator(sentences(3, 20000), trainers.BpeTrainer(
        vocab_size=3000, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"] + BYTES, limit_alphabet=300))
    data = json.loads(trained.to_str())["model"]
    tok = Tokenizer(models.BPE(vocab=data["vocab"], merges=[tuple(m) for m in data["merges"]], unk_token="<unk>",
                               fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if gemma:
        tok.normalizer = replace
        tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        tok.decoder = decoders.Sequence(steps)
    else:
        tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace])
        tok.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken("<unk>", special=True, normalized=False)] + SPECIALS + [t for t in STRIPPING if t.special])
    tok.add_tokens([t for t in STRIPPING if not t.special] + [AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=False)])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return from_api(tok, work, name)


def unigram(work, name, scheme="always"):
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(sentences(4, 20000), trainers.UnigramTrainer(
        vocab_size=3000, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>"))
    data = json.loads(trained.to_str())["model"]["vocab"]
    vocab = [tuple(p) for p in data[:3]] + [(b, 0.0) for b in BYTES] + [tuple(p) for p in data[3:]]
    tok = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=True))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tok.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    tok.add_special_tokens([AddedToken("<unk>", special=True, normalized=False)] + SPECIALS + [t for t in STRIPPING if t.special])
    tok.add_tokens([t for t in STRIPPING if not t.special])
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return from_api(tok, work, name)


def smollm2(work, name, teacher):
    """From the GGUF's metadata straight into tokenizers."""
    import gguf
    fields = gguf.GGUFReader(teacher).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    assert get("model") == "gpt2" and get("pre") == "smollm", "not SmolLM2's tokenizer"
    tokens, types = get("tokens"), get("token_type")
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)},
                               merges=[tuple(m.split(" ")) for m in get("merges")]))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    return teacher, tok


def write_gguf(path, model, pre, tokens, types, merges=None, scores=None, **keys):
    import gguf
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if merges:
        writer.add_token_merges(merges)
    if scores:
        writer.add_token_scores(scores)
    for key, value in keys.items():
        getattr(writer, "add_" + key)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def byte_level_gguf(pattern, pre, nfc, ignore_merges, work, name):
    """The names in GGUF that stand for Llama 3's and Qwen 2's pre-tokenisers."""
    _, tok = byte_level(pattern, nfc, ignore_merges, work, name)
    kept = [t for t in tok.get_added_tokens_decoder().values() if not (t.lstrip or t.rstrip or t.single_word or t.normalized)]
    data = json.loads(tok.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] in [k.content for k in kept]]
    base = len(data["model"]["vocab"])
    for i, t in enumerate(data["added_tokens"]):
        t["id"] = base + i
    data["post_processor"] = None
    tok = Tokenizer.from_str(json.dumps(data))
    if ignore_merges:
        tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tok.token_to_id("<s>"))])
    tokens = [tok.id_to_token(i) for i in range(tok.get_vocab_size())]
    special = {t["content"]: 3 if t["special"] else 4 for t in data["added_tokens"]}
    path = os.path.join(work, name + ".gguf")
    write_gguf(path, "gpt2", pre, tokens, [special.get(t, 1) for t in tokens],
               merges=[" ".join(m) if isinstance(m, list) else m for m in data["model"]["merges"]],
               bos_token_id=tok.token_to_id("<s>"), eos_token_id=tok.token_to_id("</s>"))
    return path, tok


def sentencepiece_gguf(work, name):
    """A SentencePiece vocabulary has scores, not merges: transformers' converter says which they are."""
    from transformers.convert_slow_tokenizer import generate_merges
    _, trained = sentencepiece_bpe(work, name, False)
    vocab = sorted(json.loads(trained.to_str())["model"]["vocab"].items(), key=lambda item: item[1])
    tokens = [t for t, _ in vocab]
    types = [2 if t == "<unk>" else 3 if t in ("<s>", "</s>") else 6 if t in BYTES else 1 for t in tokens]
    scores = [0.0 if k != 1 else -float(i) for i, k in enumerate(types)]
    normal = {t: i for i, (t, k) in enumerate(zip(tokens, types)) if k == 1}
    merges = generate_merges(normal, {t: scores[i] for t, i in normal.items()})
    data = json.loads(trained.to_str())
    data["added_tokens"] = data["added_tokens"][:3]
    data["model"]["merges"] = [list(m) for m in merges]
    path = os.path.join(work, name + ".gguf")
    write_gguf(path, "llama", "default", tokens, types, scores=scores, bos_token_id=1, eos_token_id=2, unk_token_id=0)
    return path, Tokenizer.from_str(json.dumps(data))


def kinds(args):
    def make(name, f, *rest):
        return name, lambda: f(*rest)
    work = args.work
    table = [make("llama3", byte_level, LLAMA3, False, True, work, "llama3"),
             make("qwen2", byte_level, QWEN2, True, False, work, "qwen2"),
             make("tekken", byte_level, TEKKEN, False, False, work, "tekken"),
             make("gpt2", gpt2, work, "gpt2"),
             make("llama2", sentencepiece_bpe, work, "llama2", False),
             make("gemma", sentencepiece_bpe, work, "gemma", True),
             make("unigram", unigram, work, "unigram"),
             make("unigram-first", unigram, work, "unigram-first", "first"),
             make("gguf-llama3", byte_level_gguf, LLAMA3, "llama-bpe", False, True, work, "gguf-llama3"),
             make("gguf-qwen2", byte_level_gguf, QWEN2, "qwen2", True, False, work, "gguf-qwen2"),
             make("gguf-llama2", sentencepiece_gguf, work, "gguf-llama2")]
    if args.teacher:
        table.insert(0, make("smollm2", smollm2, work, "smollm2", args.teacher))
    wanted = args.kinds.split(",")
    return [(n, f) for n, f in table if not args.kinds or n in wanted or ("gguf" in wanted and n.startswith("gguf"))]


# -- running Retort --------------------------------------------------------------------------------

def retort(tool, path, what, flags, items, element, as_text):
    data = b"".join(struct.pack("<I", len(x)) + (x if isinstance(x, bytes) else struct.pack("<%d%s" % (len(x), element), *x))
                    for x in items)
    run = subprocess.run([tool, path, what, *flags], input=data, capture_output=True)
    if run.returncode:
        sys.exit(f"{what}: {run.stderr.decode()}")
    out, at, results = run.stdout, 0, []
    while at < len(out):
        (count,) = struct.unpack_from("<I", out, at)
        at += 4
        if as_text:
            results.append(out[at:at + count])
            at += count
        else:
            results.append(list(struct.unpack_from("<%di" % count, out, at)))
            at += 4 * count
    assert len(results) == len(items), (len(results), len(items))
    return results


def differ(name, what, text, ours, theirs, tok):
    sys.exit(f"{name}: {what} differs for {text!r}\n  retort     {ours}\n  tokenizers {theirs}\n"
             + (f"  {[tok.id_to_token(i) for i in ours]}\n  {[tok.id_to_token(i) for i in theirs]}"
                if isinstance(ours, list) else ""))


def check(name, path, tok, args):
    specials = [t.content for t in tok.get_added_tokens_decoder().values()]
    vocab = [tok.decode([i], skip_special_tokens=False) for i in range(tok.get_vocab_size())]
    texts = Texts(args.seed, [v for v in vocab if v and "\ufffd" not in v], specials)
    strings = ["", *vocab]
    everything = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    together = often(64, 16)
    strings += ["".join(everything[i:i + together]) for i in range(0, len(everything), together)]
    strings += ["a" + "".join("'" + c + " " + c + "b" for c in everything[i:i + 8]) for i in range(0, 0x3100, 8)]
    strings += [texts.one() for _ in range(args.strings)]
    broken = [texts.broken() for _ in range(len(strings) // 10)]
    raw = [s.encode() for s in strings] + broken
    strings += [b.decode("utf-8", errors="replace") for b in broken]

    written = subprocess.run([args.tool, path, "json"], capture_output=True)
    if written.returncode:
        sys.exit(f"{name}: {written.stderr.decode()}")
    ours_json = Tokenizer.from_str(written.stdout.decode())
    # tokenizers reads a score's digits up to one unit in the last place wrong, which decides between
    # segmentations of equal score: what we write is compared with what it reads from its own file.
    source = path if os.path.isfile(path) else os.path.join(path, "tokenizer.json")
    reread = Tokenizer.from_file(source) if source.endswith(".json") else None
    open(os.path.join(args.work, name + ".retort.json"), "wb").write(written.stdout)

    start = time.time()
    for flags, special in (([], True), (["--no-special"], False)):
        ours = retort(args.tool, path, "encode", flags, raw, "i", False)
        theirs = [e.ids for e in tok.encode_batch_fast(strings, add_special_tokens=special)]
        if special:
            again = [e.ids for e in ours_json.encode_batch_fast(strings, add_special_tokens=True)]
            wanted = ours if reread is None else [
                e.ids for e in reread.encode_batch_fast(strings, add_special_tokens=True)]
        for i, (a, b) in enumerate(zip(ours, theirs)):
            if a != b:
                differ(name, f"encode{flags}", strings[i], a, b, tok)
            if special and again[i] != wanted[i]:
                differ(name, "encode by the written tokenizer.json", strings[i], wanted[i], again[i], tok)
    tok.encode_special_tokens = True
    sample = range(0, len(strings), 5)
    theirs = [e.ids for e in tok.encode_batch_fast([strings[i] for i in sample], add_special_tokens=False)]
    tok.encode_special_tokens = False
    for i, a, b in zip(sample, retort(args.tool, path, "encode", ["--no-special", "--no-parse"], [raw[i] for i in sample], "i", False), theirs):
        if a != b:
            differ(name, "encode without special tokens", strings[i], a, b, tok)

    for flags, skip in (([], True), (["--keep-special"], False)):
        texts_back = retort(args.tool, path, "decode", flags, ours, "i", True)
        theirs = tok.decode_batch(ours, skip_special_tokens=skip)
        for i, (a, b) in enumerate(zip(texts_back, theirs)):
            if a.decode() != b:
                differ(name, f"decode{flags}", strings[i], a.decode(), b, tok)
        if skip:
            first = texts_back
    for i, a in enumerate(retort(args.tool, path, "stream", [], ours, "i", True)):
        if a != first[i]:
            differ(name, "stream", strings[i], a, first[i], tok)
    # decode(encode(x)) = x, where the vocabulary has every byte and no step changes the text.
    lossy = lossy_text(name, tok)
    same = lost = 0
    for i, back in enumerate(texts_back):
        text = strings[i]
        if lossy(text) or any(s in text for s in specials):
            lost += 1
            continue
        if back.decode() != text:
            differ(name, "decode(encode(x))", text, back.decode(), text, tok)
        same += 1
    # Random ids, most of which no text gives.
    rng = random.Random(args.seed)
    ids = [[rng.randrange(tok.get_vocab_size()) for _ in range(rng.randint(0, 8))] for _ in range(20000)]
    for i, (a, b) in enumerate(zip(retort(args.tool, path, "decode", [], ids, "i", True), tok.decode_batch(ids))):
        if a.decode() != b:
            differ(name, "decode", ids[i], a.decode(), b, tok)
    pruned(name, path, tok, strings[-often(4000, 20000):], args)
    print(f"{name}: {len(strings)} strings agree ({len(broken)} not UTF-8), {same} came back whole, "
          f"{time.time() - start:.0f} s", flush=True)


def pruned(name, path, tok, strings, args):
    """Half of the vocabulary, closed under merges: Retort and tokenizers agree on what is left."""
    data = json.loads(open(os.path.join(args.work, name + ".retort.json")).read())["model"]
    raw = subprocess.run([args.tool, path, "keep"], capture_output=True, check=True).stdout
    keep = set(struct.unpack("<%di" % (len(raw) // 4 - 1), raw[4:]))
    rng = random.Random(args.seed)
    keep |= set(rng.sample(range(tok.get_vocab_size()), tok.get_vocab_size() // 2))
    ids, made_of = data["vocab"], {}
    for merge in data.get("merges", []):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        made_of.setdefault(ids[left + right], (ids[left], ids[right]))
    work = list(keep)
    while work:
        for part in made_of.get(work.pop(), ()):
            if part not in keep:
                keep.add(part)
                work.append(part)
    keep = sorted(keep)
    out = subprocess.run([args.tool, path, "prune"], input=struct.pack("<I%di" % len(keep), len(keep), *keep), capture_output=True)
    if out.returncode:
        sys.exit(f"{name}: prune: {out.stderr.decode()}")
    smaller = os.path.join(args.work, name + ".pruned.json")
    open(smaller, "wb").write(out.stdout)
    reference = Tokenizer.from_file(smaller)
    assert reference.get_vocab_size() == len(keep), (reference.get_vocab_size(), len(keep))
    assert all(reference.id_to_token(i) == tok.id_to_token(k) for i, k in enumerate(keep))
    ours = retort(args.tool, smaller, "encode", [], [s.encode() for s in strings], "i", False)
    for text, a, e in zip(strings, ours, reference.encode_batch_fast(strings)):
        if a != e.ids:
            differ(name, "encode with the pruned vocabulary", text, a, e.ids, reference)


def lossy_text(name, tok):
    """Texts that tokenizers itself does not give back."""
    name = name.removeprefix("gguf-")
    if name == "qwen2":
        return lambda s: normalizers.NFC().normalize_str(s) != s
    if name == "smollm2":  # its vocabulary lacks the tokens of some bytes
        alphabet = {b: c for b, c in zip(sorted_bytes(), sorted(pre_tokenizers.ByteLevel.alphabet()))}
        missing = {b for b in range(256) if tok.token_to_id(byte_letter(b)) is None}
        return lambda s: any(b in missing for b in s.encode())
    if name == "gpt2":
        return lambda s: True  # add_prefix_space
    if name.startswith("unigram"):
        return lambda s: "▁" in s or s.startswith(" ") or "<0x" in s
    if name in ("llama2", "gemma"):
        return lambda s: "▁" in s or "<0x" in s
    return lambda s: False


def sorted_bytes():
    return range(256)


def byte_letter(b):
    printable = 33 <= b <= 126 or 161 <= b <= 172 or b >= 174
    others = [x for x in range(256) if not (33 <= x <= 126 or 161 <= x <= 172 or x >= 174)]
    return chr(b) if printable else chr(256 + others.index(b))


# -- speed and bad input ---------------------------------------------------------------------------

def speed(name, path, tok, args):
    """In processor time, so that other work on the machine does not count."""
    tables = os.path.join(args.work, name + ".bin")
    open(tables, "wb").write(subprocess.run([args.tool, path, "tables"], capture_output=True, check=True).stdout)
    prose = "\n".join(sentences(9, 20000))
    cases = {"prose": prose}
    for label, unit in (("letters", "a"), ("spaces", " "), ("newlines", "\n"), ("digits", "7"), ("marks", "\u0301"),
                        ("mark pairs", "\u0316\u0301\u0334"), ("zwj", "\u200d"), ("newline+spaces", "\n" + " " * 1000), ("'<'", "<")):
        cases[label] = (unit * (1 << 20))[:(1 << 20) // len(unit.encode()) * len(unit)][: (1 << 20) // max(1, len(unit[0].encode()))]
    cases["broken"] = b"\xe2\x96" * (1 << 19)
    for label, text in cases.items():
        data = text if isinstance(text, bytes) else text.encode()
        out = json.loads(subprocess.run([args.tool, tables, "time"], input=data, capture_output=True, check=True).stdout)
        line = f"{name} {label}: {out['mb_per_s']} MB/s, {out['seconds']:.3f} s for {len(data) / 1e6:.1f} MB"
        if label == "prose":
            start = time.process_time()
            count = len(tok.encode(text).ids)
            line += f", opened in {out['open_ms']} ms; tokenizers {len(data) / 1e6 / (time.process_time() - start):.2f} MB/s"
            assert count == out["tokens"], (count, out["tokens"])
            assert out["open_ms"] < 10, "opening takes 10 ms or more"
        elif out["seconds"] > 1:
            sys.exit(line + ": more than a second")
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool")
    parser.add_argument("--teacher", help="SmolLM2 as GGUF")
    parser.add_argument("--strings", type=int, default=often(6000, 50000), help="per kind (default %(default)s)")
    parser.add_argument("--kinds", default="")
    parser.add_argument("--seed", type=int, default=20260726)
    parser.add_argument("--work", default="/tmp/retort-tokenizers")
    parser.add_argument("--no-speed", action="store_true")
    args = parser.parse_args()
    if args.teacher and not os.path.exists(args.teacher):
        args.teacher = None
        print("smollm2: skipped: run scripts/quickstart for its teacher", flush=True)
    os.makedirs(args.work, exist_ok=True)
    for name, make in kinds(args):
        path, tok = make()
        check(name, path, tok, args)
        if not args.no_speed and not name.startswith("gguf"):
            speed(name, path, tok, args)


if __name__ == "__main__":
    main()
