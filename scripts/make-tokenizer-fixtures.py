#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizer: small tokenizers, a mixed text, and what the reference libraries
make of it.

Run it only to change the fixtures; they are in the repository. Needs the packages tokenizers,
sentencepiece, transformers and, with --gguf, gguf:

    scripts/make-tokenizer-fixtures.py [--gguf SmolLM2-135M-Instruct.gguf]

A tokenizer's folder has its files and
  text.u16     ids of the whole text, 16-bit little-endian
  lines.u16    for every line: the number of ids, then the ids
  decoded.txt  the library's decoding of text.u16, where it differs from the text
  decode.json  decodings of random id sequences: [ids, text, text without special tokens]
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import struct
import tempfile

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "tokenizer"

NOUNS = """harbour engine window letter garden signal bridge memory teacher kettle river matrix
compiler orchard lantern packet printer village thread machine kernel sparrow market theorem violin
carriage gradient station blanket surgeon mountain archive battery""".split()
VERBS = """carries measures forgets repairs follows describes reduces watches compares returns
schedules waits for listens to splits gathers sends believes overtakes paints ignores""".split()
ADJECTIVES = """quiet uneven distributed ancient narrow sparse brittle grateful wooden asynchronous
cheerful reddish precise stubborn hollow parallel untested generous""".split()
ADVERBS = "slowly rarely together twice tomorrow again nearly elsewhere".split()
CONTRACTIONS = ["it's", "we'll", "they've", "I'm", "don't", "you're", "she'd", "IT'S", "WE'LL",
                "o'clock", "rock 'n' roll", "the dogs' bowls"]
OTHER_SCRIPTS = [
    "我们在河边看见一只白色的鸟，它飞得很慢。", "今日は雨なので、図書館で本を読みます。",
    "기차가 늦게 도착해서 우리는 기다렸다.", "Мост через реку строили семь лет.",
    "Η γέφυρα είναι παλιά αλλά γερή.", "השיר הזה ארוך מדי.", "القطار يصل غدا في المساء.",
    "नदी के उस पार एक गाँव है।", "สะพานนี้ยาวมาก", "Größe, Straße, Übermut, façade, naïve, cœur",
    "Đường này dài lắm", "İstanbul'da ılık bir gün", "ﬁne ligatures, ½ cup, x² + y³, №7, ①②③, Ⅷ",
    "ｆｕｌｌｗｉｄｔｈ　ＴＥＸＴ１２３", "𝒜 𝔹 𝕔, 𐍈, 𠜎𠜱, ᚠᛇᚻ",
]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "🤷🏻‍♀️", "1️⃣", "☂", "🧑‍💻"]
COMBINING = ["e\u0301", "o\u0308\u0323", "n\u0303", "A\u030a", "q\u0307\u0323", "\u1112\u1161\u11ab",
             "s\u0323\u0307", "\u0344", "\u212b", "\u2126", "Z\u0351\u036b\u0343\u0352\u034a"]
SPACES = ["\u00a0", "\u2003", "\u3000", "\u200b", "\u202f", "\u1680", "\u2028", "\u0085", "\ufeff",
          "\u180e", "\u2060", "\u200d", "\t", "\t\t", "  ", "     ", "\r", "\x0b", "\x0c"]
SPECIALS = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>",
            "<|begin_of_text|>", "<|eot_id|>", "<s", "<|", "|>", "< s >", "<0x41>", "[MASK]", "▁",
            "<think>", "Ġword", "<|im_start|><|im_end|>", "a</s>b", " <s> ", "ab[MASK]  cd",
            "tool", "tools", "<TOOL>"]
CODE = ['for (std::size_t i = 0; i < n; ++i) {', '    total += weights[i] * (x[i] - mean);', '}',
        'def step(self, batch: list[int]) -> float:', '\treturn sum(batch) / max(1, len(batch))',
        'SELECT name, COUNT(*) FROM ranks WHERE node_id >= 4 GROUP BY name;',
        '#define MAX(a, b) ((a) > (b) ? (a) : (b))', 'curl -sS "http://localhost:8080/v1?x=1&y=%20"',
        '{"id": 17, "tags": ["a", "b"], "ok": true, "ratio": 1.25e-3}', '<p class="lead">it&#39;s</p>',
        'if(x!=y){z=x<<3|y>>2;}//TODO', "$ git log --oneline | head -n 20", '\\frac{\\partial L}{w_i}']


def sentence(rng):
    words = ["The", rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(VERBS),
             rng.choice(["a", "the", "every", "no"]), rng.choice(NOUNS)]
    if rng.random() < 0.5:
        words += [rng.choice(ADVERBS)]
    if rng.random() < 0.4:
        words += ["and", rng.choice(CONTRACTIONS), rng.choice(ADJECTIVES)]
    if rng.random() < 0.1:
        words[2] = words[2].upper()
    return " ".join(words) + rng.choice([".", "!", "?", "...", ";", " -- "])


def number(rng):
    return rng.choice([str(rng.randrange(10 ** rng.randrange(1, 13))), f"{rng.random():.5f}",
                       f"{rng.randrange(2000):,}", f"0x{rng.randrange(1 << 24):X}",
                       f"{rng.randrange(1, 29)}/{rng.randrange(1, 13)}/20{rng.randrange(10, 99)}",
                       "٣٤٥", "１２３４", "१२", "3rd", "v1.2.3-rc4", "1e-05", "+49 (0)30 12 34 56"])


def piece(rng):
    kind = rng.randrange(12)
    if kind < 3:
        return sentence(rng)
    if kind == 3:
        return rng.choice(CODE)
    if kind == 4:
        return number(rng)
    if kind == 5:
        return rng.choice(OTHER_SCRIPTS)
    if kind == 6:
        return "".join(rng.choice(EMOJI) for _ in range(rng.randrange(1, 4)))
    if kind == 7:
        return rng.choice("xyz") + rng.choice(COMBINING) + rng.choice(["", "abc", " ", "\u0301"])
    if kind == 8:
        return rng.choice(SPACES) * rng.randrange(1, 4)
    if kind == 9:
        return rng.choice(SPECIALS)
    if kind == 10:
        return rng.choice(["!!!", "?!", "«»", "“quoted”", "—", "…", "()", "###", "'''", "`x`", "~/",
                           "€5", "a_b", "C++", "@me", "¿qué?", "、。", "''s", "'S", "'ſ", "\u00ad"])
    return rng.choice(CONTRACTIONS)


def mixed_text():
    rng = random.Random(7)
    lines = []
    for _ in range(620):
        joiner = rng.choice([" ", " ", " ", "", "  "])
        lines.append(joiner.join(piece(rng) for _ in range(rng.randrange(0, 7))))
    lines += ["", "", " ", "   leading", "trailing   ", "\ttab", "crlf\r", "\r", "".join(CODE)]
    lines += ["".join(rng.choice("abcdefghij") for _ in range(3000)),
              "".join(rng.choice("01") for _ in range(1500)), "ha" * 700, " " * 600 + "x" + " " * 300,
              "=" * 500, "我" * 300, "😀" * 200, "\u0301" * 100, "\n" * 60,
              "".join(map(chr, range(0x00, 0x20))).replace("\n", ""), "\x7f\x80\x9f",
              "\ue000\U000e0001\U0010fffd\uffff", "".join(map(chr, range(0xA0, 0x250)))]
    rng.shuffle(lines)
    return "\n".join(lines) + "\n"


def training_lines(count):
    rng = random.Random(11)
    return [" ".join(piece(rng) if rng.random() < 0.25 else sentence(rng) for _ in range(4))
            for _ in range(count)]


LLAMA3_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
              r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def special(content, **options):
    return AddedToken(content, special=True, normalized=False, **options)


def train(tokenizer, size, specials, byte_level=True):
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet,
                                  show_progress=False)
    tokenizer.train_from_iterator(training_lines(1500), trainer)
    return tokenizer


def make_gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, 700, [special("<|endoftext|>")])


def make_digits():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)])
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, 700, [special("<|endoftext|>"), special("<|im_start|>"),
                                  special("<|im_end|>")])


def make_llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(tokenizers.Regex(LLAMA3_WORDS), "isolated"),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 900, [])
    # Tokens that merges do not reach are what ignore_merges is for.
    state = json.loads(tokenizer.to_str())
    for word in ["Ġharbour", "Ġzyzzyva", "quiet", "123", "ĠMost"]:
        state["model"]["vocab"].setdefault(word, len(state["model"]["vocab"]))
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([special("<|begin_of_text|>"), special("<|eot_id|>")])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True),
         processors.TemplateProcessing("<|begin_of_text|> $A",
                                       special_tokens=[("<|begin_of_text|>", begin)])])
    return tokenizer


def make_qwen2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(tokenizers.Regex(QWEN_WORDS), "isolated"),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 800, [])
    tokenizer.add_special_tokens([special("<|endoftext|>"), special("<|im_start|>"),
                                  special("<|im_end|>")])
    # Not special, as in Qwen3; and every option that an added token can have.
    tokenizer.add_tokens([AddedToken("<think>", normalized=False),
                          AddedToken("tool", single_word=True, normalized=True),
                          AddedToken("[MASK]", lstrip=True, rstrip=True, normalized=True)])
    return tokenizer


def make_opt():
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    train(tokenizer, 700, [AddedToken(s, special=True, normalized=True) for s in specials])
    tokenizer.post_processor = processors.TemplateProcessing("</s> $A",
                                                             special_tokens=[("</s>", 2)])
    return tokenizer


def make_roberta():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 600, [special("<s>"), special("</s>"), special("<unk>"),
                           special("[MASK]", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0),
                                                            add_prefix_space=True)
    return tokenizer


def train_sentencepiece(folder):
    import sentencepiece
    with tempfile.TemporaryDirectory() as scratch:
        corpus = pathlib.Path(scratch) / "corpus.txt"
        corpus.write_text("\n".join(line.replace("\n", " ") for line in training_lines(1500)),
                          encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{scratch}/m", model_type="bpe", vocab_size=1000,
            byte_fallback=True, character_coverage=0.995, split_digits=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True, add_dummy_prefix=True, unk_id=0, bos_id=1, eos_id=2,
            pad_id=-1, num_threads=1, minloglevel=2)
        shutil.copy(f"{scratch}/m.model", folder / "tokenizer.model")
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def sentencepiece_bpe(processor):
    """The same vocabulary for the tokenizers library: a merge for every way to make a piece."""
    vocab = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    merges = []
    for token, rank in vocab.items():
        if rank < 3 or processor.is_byte(rank):
            continue
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        merges += [(rank, vocab[a], vocab[b], a, b) for a, b in pairs if a in vocab and b in vocab]
    merges = [(a, b) for _, _, _, a, b in sorted(merges)]
    return vocab, merges


def make_llama2(processor):
    vocab, merges = sentencepiece_bpe(processor)
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"),
                                                 normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([special("<unk>"), special("<s>"), special("</s>")])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def make_mistral(processor):
    """As Mistral's later files: Metaspace, only before the first word, without splitting."""
    tokenizer = make_llama2(processor)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    return tokenizer


def make_metaspace(processor):
    """No byte tokens and unknown characters that do not fuse; Metaspace that splits; NFKC."""
    vocab, merges = sentencepiece_bpe(processor)
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always", split=True)
    tokenizer.add_special_tokens([special("<unk>"), special("<s>"), special("</s>")])
    return tokenizer


def write_u16(path, ids):
    path.write_bytes(struct.pack(f"<{len(ids)}H", *ids))


def write_lines(path, lines):
    write_u16(path, [x for ids in lines for x in [len(ids), *ids]])


def random_sequences(size, count=60):
    rng = random.Random(size)
    return [[rng.randrange(size) for _ in range(rng.randrange(0, 12))] for _ in range(count)]


def write_expected(folder, text, encode, decode, size):
    folder.mkdir(parents=True, exist_ok=True)
    ids = encode(text)
    write_u16(folder / "text.u16", ids)
    write_lines(folder / "lines.u16", [encode(line) for line in text.split("\n")])
    decoded = decode(ids, False)
    if decoded != text:
        (folder / "decoded.txt").write_text(decoded, encoding="utf-8", newline="")
    sequences = random_sequences(size)
    write_json(folder / "decode.json", [[s, decode(s, False), decode(s, True)] for s in sequences])
    print(f"{folder.name}: {size} tokens, {len(ids)} ids")


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n",
                    encoding="utf-8")


def write_tokenizer(name, tokenizer, text, string_merges=False):
    folder = FIXTURES / name
    folder.mkdir(parents=True, exist_ok=True)
    state = json.loads(tokenizer.to_str())
    if string_merges:  # as files were written before version 0.20
        state["model"]["merges"] = [" ".join(merge) for merge in state["model"]["merges"]]
    write_json(folder / "tokenizer.json", state)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    write_expected(folder, text, lambda t: tokenizer.encode(t).ids,
                   lambda ids, skip: tokenizer.decode(ids, skip_special_tokens=skip),
                   tokenizer.get_vocab_size())


def write_sentencepiece(folder, processor, text):
    """Ids from SentencePiece's own library; control tokens in the text are ids of their own."""
    controls = re.compile("(<unk>|<s>|</s>)")

    def encode(t):
        parts = [p for p in controls.split(t) if p]
        return [processor.bos_id()] + [
            i for p in parts
            for i in ([processor.piece_to_id(p)] if controls.fullmatch(p) else processor.encode(p))]

    write_json(folder / "tokenizer_config.json", {"add_bos_token": True, "add_eos_token": False,
                                                  "bos_token": "<s>", "eos_token": "</s>",
                                                  "tokenizer_class": "LlamaTokenizer"})
    reference = make_llama2(processor)
    write_expected(folder, text, encode,
                   lambda ids, skip: reference.decode(ids, skip_special_tokens=skip),
                   processor.get_piece_size())


def write_vocab_files(name, tokenizer, text):
    """OPT as it is published: no tokenizer.json."""
    folder = FIXTURES / name
    folder.mkdir(parents=True, exist_ok=True)
    state = json.loads(tokenizer.to_str())
    write_json(folder / "vocab.json", state["model"]["vocab"])
    merges = "".join(f"{a} {b}\n" for a, b in state["model"]["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    token = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False,
             "single_word": False}
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": True, "add_prefix_space": False, "bos_token": {**token, "content": "</s>"},
        "eos_token": {**token, "content": "</s>"}, "pad_token": {**token, "content": "<pad>"},
        "tokenizer_class": "GPT2Tokenizer", "unk_token": {**token, "content": "</s>"}})
    tokenizer = Tokenizer.from_str(json.dumps(
        {**state, "added_tokens": [t for t in state["added_tokens"]
                                   if t["content"] in ("</s>", "<pad>")]}))
    write_expected(folder, text, lambda t: tokenizer.encode(t).ids,
                   lambda ids, skip: tokenizer.decode(ids, skip_special_tokens=skip),
                   tokenizer.get_vocab_size())


COMPONENT_TEXTS = [
    "", " ", "Hello world", "  two  spaces ", "abc123def 45,6", "a-b--c - d", "it's WE'LL you'Re",
    "x\ty\r\n\r\n z \n", "▁mark▁ed ", "我们 2 😀👍🏽", "e\u0301 \u212b ½ ﬁ İSTANBUL ΣΑΣ", "١٢ Ⅷ ②",
    "a\u00a0b\u3000c\u180ed\u200be\u0085f", "foo_bar a\u0301b ⓐ \u200d(x)", "aaa", "...!?", "\x00\x01",
]
SPLIT_PATTERNS = [{"String": " "}, {"String": "a"}, {"String": "--"}, {"Regex": r"\s+"},
                  {"Regex": r"\d"}, {"Regex": r"[^\s\w]+"}, {"Regex": r"\S\s?"}, {"Regex": r"x*"},
                  {"Regex": r"\w+|[^\w\s]+"}, {"Regex": r"^.|.$"}, {"Regex": r"\p{Lu}|\W"},
                  {"Regex": QWEN_WORDS}]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def pre_tokenizer_specs():
    byte_level = {"type": "ByteLevel", "trim_offsets": True}
    metaspace = {"type": "Metaspace", "replacement": "▁"}
    specs = [{**byte_level, "add_prefix_space": a, "use_regex": b}
             for a in (False, True) for b in (False, True)]
    specs += [{"type": "Split", "pattern": p, "behavior": b, "invert": i}
              for p in SPLIT_PATTERNS for b in BEHAVIORS for i in (False, True)]
    specs += [{"type": "Digits", "individual_digits": i} for i in (False, True)]
    specs += [{"type": "Punctuation", "behavior": b} for b in BEHAVIORS]
    specs += [{"type": "Punctuation"}, {"type": "Whitespace"}, {"type": "WhitespaceSplit"}]
    specs += [{**metaspace, "prepend_scheme": p, "split": s}
              for p in ("always", "first", "never") for s in (False, True)]
    specs += [{**metaspace, "add_prefix_space": True}]
    specs += [{"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"}, {**metaspace, "prepend_scheme": "first", "split": True}]}]
    specs += [{"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "Punctuation", "behavior": "Contiguous"},
        {**byte_level, "add_prefix_space": False, "use_regex": True}]}]
    return specs


def normalizer_specs():
    specs = [{"type": t} for t in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase")]
    specs += [{"type": "Prepend", "prepend": "▁"}]
    specs += [{"type": "Replace", "pattern": p, "content": c}
              for p, c in (({"String": " "}, "▁"), ({"String": "a"}, ""), ({"Regex": r"\s+"}, " "),
                           ({"Regex": " {2,}"}, "."), ({"String": "."}, "!"))]
    specs += [{"type": "Strip", "strip_left": a, "strip_right": b}
              for a in (False, True) for b in (False, True)]
    specs += [{"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"},
                                                   {"type": "Strip", "strip_left": True,
                                                    "strip_right": True}]}]
    return specs


DECODER_TOKENS = [
    [], ["Hello", "Ġworld"], ["▁Hello", "▁wor", "ld"], ["▁", "▁a▁b"], [" a ", "  b  ", "c"],
    ["<0xE6>", "<0x88>", "<0x91>", "x"], ["<0xE6>", "<0x88>", "x", "<0x41>"], ["<0xe6>", "<0xZZ>"],
    ["æĪ", "ij", "Ġ"], ["æĪ", "Ġ"], ["ð", "Ł", "ĺ", "Ģ"], ["我", "Ġa"], ["<s>", "a", "</s>"],
    ["<0xFF>", "<0x80>", "<0xC3>", "<0xA9>"], ["<0xC3>", "<0xA9>", "<0xC3>"], ["", ""],
]


def decoder_specs():
    fallback = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    specs = [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}]
    specs += [{"type": "ByteFallback"}, {"type": "Fuse"}, fallback[0]]
    specs += [{"type": "Strip", "content": " ", "start": a, "stop": b}
              for a, b in ((0, 0), (1, 0), (0, 1), (2, 1))]
    specs += [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": p, "split": True}
              for p in ("always", "first", "never")]
    specs += [{"type": "Metaspace", "replacement": "▁", "add_prefix_space": False,
               "prepend_scheme": "never"}]
    specs += [{"type": "Sequence", "decoders": fallback}]
    return specs


def with_component(key, spec):
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "vocab": {}, "merges": []}, key: spec}))


def make_components():
    texts, tokens = COMPONENT_TEXTS, DECODER_TOKENS
    cases = {"texts": texts, "tokens": tokens, "pre_tokenizers": [], "normalizers": [],
             "decoders": []}
    for spec in pre_tokenizer_specs():
        part = with_component("pre_tokenizer", spec).pre_tokenizer
        cases["pre_tokenizers"].append(
            {"spec": spec, "pieces": [[p for p, _ in part.pre_tokenize_str(t)] for t in texts]})
    for spec in normalizer_specs():
        part = with_component("normalizer", spec).normalizer
        cases["normalizers"].append({"spec": spec, "results": [part.normalize_str(t) for t in texts]})
    for spec in decoder_specs():
        part = with_component("decoder", spec).decoder
        # The library's Strip panics on empty tokens.
        strips = spec["type"] == "Strip"
        cases["decoders"].append({"spec": spec, "results": [
            None if strips and "" in t else part.decode(t) for t in tokens]})
    write_json(FIXTURES / "components.json", cases)
    print("components.json:", sum(len(cases[k]) for k in
                                  ("pre_tokenizers", "normalizers", "decoders")), "components")


# Patterns whose meaning differs between Oniguruma and other libraries, and ordinary ones.
REGEXES = [
    r"\h+", r"\H+", r"[\h_]+", r"(?m:a.b)", r"a.b", r"(?m)a.(?-m).b", r"[a[bc]]+", r"[^a[bc]]+",
    r"[a-w&&[^c-g]z]+", r"[\w&&[^\d_]]+", r"[a&&b]|c", r"[^a&&a]", r"\bfoo\b", r"\Bo", r"[[:punct:]]+",
    r"[^[:^punct:]]", r"\p{Punct}+", r"\p{^Punct}+", r"[[:alpha:]]+", r"[[:alnum:]]+", r"[[:graph:]]+",
    r"[[:print:]]+", r"[[:space:]]", r"[[:upper:]][[:lower:]]*", r"[[:word:]]+", r"\p{Word}+", r"\u0061+",
    r"\x{e9}|\o{141}|\x41", r"\u6211", r"\R", r"\N+", r"\O{2}", r"\v|\e|\a", r"a{,2}", r"a{2}+", r"a{1,2}+b",
    r"a{2}?", r"a{1,3}?", r"a++a|b*+", r"a{|a{,}|{", r"a(?i)b|c", r"(?:a(?i)b|c)d", r"(?i:'s|'re|k)", r"(?i:[a-z]+)",
    r"(?<n>a)b|(?'m'c)", r"(?>a|ab)c", r"(?<=a)b|(?<!a)c", r"a(?=b)|a(?!b).", r"(?#note)a+", "(?x: a b # c\n)",
    r"^.|.$", r"\A.|.\z", r".\Z", r"\w+", r"[\w]+", r"\W", r"[^\w]", r"[\s\S]", r"[\b\n]", r"[\]\-]", r"[a\-c-]",
    r"\p{Greek}+|\p{Han}+|\p{Hangul}", r"\p{Uppercase_Letter}|\p{other number}", r"\p{Emoji}", r"\P{L}+", r"\d+|\D",
    LLAMA3_WORDS, QWEN_WORDS,
]
REGEX_TEXTS = [
    " 's a\nb aab aaab", "abc cab a] [a-z] {a} a{,}", "x foó foo ofo A\u017f \u212a", "😀a👩‍👩‍👧 $+<=>^`|~ «¿»",
    "\r\n\n\x0b\x0c\r\x85\u2028x\n", "deadBEEF_09 gG ½²③Ⅷ", "é 我們 αβΣς хД ĲĳǅΩ ͅ", "a'S 'RE acd abd Cd cd Acd ab",
    "\x08\x07\x1b - ]", "",
]


def make_regexes():
    cases = {"texts": REGEX_TEXTS, "patterns": []}
    for pattern in REGEXES:
        split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        cases["patterns"].append({"pattern": pattern, "pieces": [
            [p for p, _ in split.pre_tokenize_str(t)] for t in REGEX_TEXTS]})
    write_json(FIXTURES / "regexes.json", cases)
    print("regexes.json:", len(REGEXES), "patterns")


def token_entry(content, identifier=None, **options):
    entry = {"content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": False, **options}
    return entry if identifier is None else {"id": identifier, **entry}


def make_added_tokens():
    """Random added tokens over few letters, so that they overlap, and what tokenizers finds."""
    rng = random.Random(23)
    state = json.loads((FIXTURES / "gpt2" / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = state["model"]["vocab"]
    cases = []
    for _ in range(60):
        added, seen = state["added_tokens"][:], set(vocab)
        for _ in range(rng.randrange(1, 12)):
            content = "".join(rng.choice("abA<| é") for _ in range(rng.randrange(2, 6)))
            if content.lower() in seen:  # which of two that look alike wins is chance there
                continue
            seen.add(content.lower())
            added = added + [token_entry(content, len(vocab) + len(added) - 1, **{
                option: rng.random() < 0.25 for option in
                ("single_word", "lstrip", "rstrip", "normalized", "special")})]
        normalizer = {"type": "Lowercase"} if rng.random() < 0.4 else None
        tokenizer = Tokenizer.from_str(json.dumps({**state, "added_tokens": added,
                                                   "normalizer": normalizer}))
        texts = ["".join(rng.choice("abA<| éa<|x") for _ in range(rng.randrange(1, 40)))
                 for _ in range(12)]
        ids = []
        for text in texts:
            try:
                ids.append(tokenizer.encode(text).ids)
            except BaseException:  # pylint: disable=broad-except
                ids.append(None)  # the library panics where a token took another's place
        cases.append({"added_tokens": added[1:], "normalizer": normalizer, "texts": texts,
                      "ids": ids})
    write_json(FIXTURES / "added_tokens.json", cases)
    print("added_tokens.json:", len(cases), "cases")


def config_cases():
    """Files beside the tokenizer.json that is called `base`."""
    fast = {"tokenizer_class": "PreTrainedTokenizerFast"}
    llama = {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "eos_token": "<|im_end|>",
             "unk_token": "<unk>"}
    decoder = {"0": token_entry("<|endoftext|>", special=True),
               "701": token_entry("<|b|>", special=True, rstrip=True), "700": token_entry("<|a|>")}
    dict_token = {**token_entry("<|d|>", lstrip=True, special=True), "__type": "AddedToken"}
    yield "gpt2", {"tokenizer_config.json": {**fast, "added_tokens_decoder": decoder}}
    yield "gpt2", {"tokenizer_config.json": {**fast, "added_tokens_decoder": decoder,
                                             "eos_token": "<|a|>", "pad_token": "<|c|>"},
                   "special_tokens_map.json": {"bos_token": "<|d|>"}}
    yield "gpt2", {"tokenizer_config.json": {**fast, "pad_token": dict_token, "sep_token": "<|c|>",
                                             "image_token": "<|b|>", "model_max_length": 1e30,
                                             "additional_special_tokens": ["<|a|>", "the"]}}
    yield "gpt2", {"tokenizer_config.json": {**fast, "extra_special_tokens": {"boi": "<|a|>"},
                                             "mask_token": "<|b|>"}}
    yield "gpt2", {"tokenizer_config.json": {**fast, "extra_special_tokens": ["<|c|>", "<|a|>"]}}
    yield "gpt2", {"tokenizer_config.json": {**fast, "eos_token": "<|a|>"},
                   "added_tokens.json": {"<|b|>": 701, "<|a|>": 700, "<|c|>": 702},
                   "special_tokens_map.json": {"eos_token": "<|b|>", "pad_token": {
                       "content": "<|c|>", "lstrip": True, "rstrip": False, "normalized": False,
                       "single_word": False}}}
    yield "qwen2", {"tokenizer_config.json": {**fast, "mask_token": "[MASK]", "eos_token": "<think>"}}
    yield "llama2", {"tokenizer_config.json": {**llama, "added_tokens_decoder": {
        "0": token_entry("<unk>", special=True), "1": token_entry("<s>", special=True),
        "2": token_entry("</s>", special=True), "1000": token_entry("<|im_end|>", special=True)}}}
    yield "llama2", {"tokenizer_config.json": {**llama, "eos_token": "</s>"}}


def make_configs():
    import transformers
    texts = ["a<|a|> b <|b|>  c<|c|>the <|d|>x", "Hi<|im_end|>x</s>you", "[MASK] it<think>", "<|a|><|b|>",
             "<s>Hi there"]
    cases = []
    for base, files in config_cases():
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            shutil.copy(FIXTURES / base / "tokenizer.json", folder)
            files = {"config.json": {"model_type": "llama"}, **files}
            for name, content in files.items():
                write_json(folder / name, content)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            ids = [tokenizer.encode(text) for text in texts]
            cases.append({"base": base, "files": files, "texts": texts, "ids": ids, "decoded": [
                tokenizer.decode(i, skip_special_tokens=True) for i in ids]})
    write_json(FIXTURES / "configs.json", cases)
    print("configs.json:", len(cases), "cases")


def write_smollm2(gguf, text):
    import transformers
    path = pathlib.Path(gguf).resolve()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # transformers takes GPT-2's words for every byte-level GGUF; SmolLM2 also splits digits.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)])
    backend = tokenizer.backend_tokenizer
    write_expected(FIXTURES / "smollm2", text,
                   lambda t: backend.encode(t, add_special_tokens=False).ids,
                   lambda ids, skip: backend.decode(ids, skip_special_tokens=skip),
                   backend.get_vocab_size())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gguf", help="also make the expectations for SmolLM2's own tokenizer")
    args = parser.parse_args()
    FIXTURES.mkdir(parents=True, exist_ok=True)
    text = mixed_text()
    (FIXTURES / "mixed.txt").write_text(text, encoding="utf-8", newline="")
    print(f"mixed.txt: {len(text.encode())} bytes")
    write_tokenizer("gpt2", make_gpt2(), text, string_merges=True)
    write_tokenizer("digits", make_digits(), text)
    write_tokenizer("llama3", make_llama3(), text)
    write_tokenizer("qwen2", make_qwen2(), text)
    write_tokenizer("roberta", make_roberta(), text)
    opt = make_opt()
    write_tokenizer("opt", opt, text)
    write_vocab_files("opt-files", opt, text)
    spm = FIXTURES / "sentencepiece"
    spm.mkdir(exist_ok=True)
    processor = train_sentencepiece(spm)
    write_sentencepiece(spm, processor, text)
    write_tokenizer("llama2", make_llama2(processor), text)
    write_tokenizer("mistral", make_mistral(processor), text)
    write_tokenizer("metaspace", make_metaspace(processor), text)
    make_components()
    make_regexes()
    make_added_tokens()
    make_configs()
    if args.gguf:
        write_smollm2(args.gguf, text)


if __name__ == "__main__":
    main()
