"""A GGUF file of the LLaMA family as the parts of a Hugging Face model directory."""

import json
import sys
import time

import gguf as gguf_library
import numpy as np
import safetensors


class ConversionError(ValueError):
    """What is wrong with the file, for the user."""


def say(text, end="\n"):
    print(text, end=end, flush=True)


class Progress:
    """One line that counts up on a terminal; one line at the end elsewhere."""

    def __init__(self, what, total):
        self.what, self.total, self.live = what, total, sys.stdout.isatty()
        self.start = self.shown = time.monotonic()

    def update(self, done):
        now = time.monotonic()
        if done >= self.total:
            say(f"{chr(13) if self.live else ''}  {self.what}: {done} of {self.total}, "
                f"{now - self.start:.1f} s")
        elif self.live and now - self.shown > 0.1:
            self.shown = now
            say(f"\r  {self.what}: {done} of {self.total}", end="")


class Gguf:
    """The metadata and tensors of a GGUF file."""

    def __init__(self, path):
        reader = gguf_library.GGUFReader(path)
        self.fields = {key: field.contents() for key, field in reader.fields.items()}
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def __getitem__(self, key):
        return self.fields[key]

    def values(self, name):
        """f32, in row-major order [out, in]."""
        tensor = self.tensors[name]
        return gguf_library.dequantize(tensor.data, tensor.tensor_type)


def make_config(gguf):
    heads = gguf["llama.attention.head_count"]
    hidden = gguf["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": gguf["tokenizer.ggml.bos_token_id"],
        "eos_token_id": gguf["tokenizer.ggml.eos_token_id"],
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": gguf["llama.feed_forward_length"],
        "max_position_embeddings": gguf["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": gguf["llama.block_count"],
        "num_key_value_heads": gguf["llama.attention.head_count_kv"],
        "pad_token_id": gguf["tokenizer.ggml.padding_token_id"],
        "pretraining_tp": 1,
        # GGUF keeps it as f32; the shortest decimal of that is what the model was trained with.
        "rms_norm_eps": float(f"{gguf['llama.attention.layer_norm_rms_epsilon']:.7g}"),
        "rope_scaling": None,
        "rope_theta": gguf["llama.rope.freq_base"],
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": gguf["llama.vocab_size"],
    }


def tensor_names(config):
    """Hugging Face name -> (GGUF name, shape, heads whose rows GGUF interleaves or 0)."""
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    q, kv = heads * config["head_dim"], kv_heads * config["head_dim"]
    names = {
        "model.embed_tokens.weight": ("token_embd.weight", (config["vocab_size"], hidden), 0),
        "model.norm.weight": ("output_norm.weight", (hidden,), 0),
    }
    if not config["tie_word_embeddings"]:
        names["lm_head.weight"] = ("output.weight", (config["vocab_size"], hidden), 0)
    for i in range(config["num_hidden_layers"]):
        for theirs, ours, shape, interleaved in [
                ("input_layernorm", "attn_norm", (hidden,), 0),
                ("self_attn.q_proj", "attn_q", (q, hidden), heads),
                ("self_attn.k_proj", "attn_k", (kv, hidden), kv_heads),
                ("self_attn.v_proj", "attn_v", (kv, hidden), 0),
                ("self_attn.o_proj", "attn_output", (hidden, q), 0),
                ("post_attention_layernorm", "ffn_norm", (hidden,), 0),
                ("mlp.gate_proj", "ffn_gate", (mlp, hidden), 0),
                ("mlp.up_proj", "ffn_up", (mlp, hidden), 0),
                ("mlp.down_proj", "ffn_down", (hidden, mlp), 0)]:
            names[f"model.layers.{i}.{theirs}.weight"] = (f"blk.{i}.{ours}.weight", shape,
                                                          interleaved)
    return names


def half_split(rows, heads):
    """Undoes GGUF's row order of q and k. Rotary pair i of a head is rows 2i and 2i + 1 in GGUF,
    rows i and i + head_dim / 2 in a Hugging Face checkpoint."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def to_bf16(values):
    """f32 -> bf16 bits, to nearest, ties to even."""
    if not np.isfinite(values).all():
        raise ConversionError("the GGUF file has values that are not finite")
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_weights(gguf, config, path):
    names = tensor_names(config)
    missing = sorted({gguf_name for gguf_name, _, _ in names.values()} - gguf.tensors.keys())
    if missing:
        raise ConversionError(f"the GGUF file lacks {missing[0]} and {len(missing) - 1} more")
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(names):
        shape = names[name][1]
        begin, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)  # the data begin on a cache line
    progress = Progress("tensors converted", len(names))
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for done, name in enumerate(sorted(names), 1):
            gguf_name, shape, interleaved = names[name]
            values = gguf.values(gguf_name)
            if values.shape != shape:
                raise ConversionError(f"{gguf_name} is {values.shape} in the GGUF file, not {shape}")
            file.write(to_bf16(half_split(values, interleaved) if interleaved else values).data)
            progress.update(done)


def check_weights(gguf, config, path):
    """Reads the file back with the safetensors library: names, shapes, and spot values of every
    tensor against the GGUF file, rows of q and k found by the formula rather than by reshaping."""
    names = tensor_names(config)
    with safetensors.safe_open(path, framework="numpy") as file:
        if set(file.keys()) != names.keys():
            raise ConversionError(f"{path}: tensors differ from what config.json asks for")
        for name, (_, shape, _) in names.items():
            view = file.get_slice(name)
            if view.get_dtype() != "BF16" or tuple(view.get_shape()) != shape:
                raise ConversionError(f"{path}: {name} is {view.get_dtype()} {view.get_shape()}")
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    length = int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:8 + length].tobytes())
    half = config["head_dim"] // 2
    progress = Progress("tensors verified", len(names))
    for done, (name, (gguf_name, shape, interleaved)) in enumerate(names.items(), 1):
        begin, end = (8 + length + offset for offset in header[name]["data_offsets"])
        written = raw[begin:end].view("<u2").reshape(shape).astype(np.uint32) << 16
        written = written.view(np.float32)
        source = gguf.values(gguf_name)
        for row in sorted({0, 1, half - 1, half, shape[0] // 2, shape[0] - 1}):
            from_row = row
            if interleaved:
                head, i = divmod(row, 2 * half)
                from_row = head * 2 * half + (2 * i if i < half else 2 * (i - half) + 1)
            # bf16 keeps 8 significant bits: half a unit in the last place is 2^-9 of the value,
            # 2^-8 at the lower end of a binade.
            if not np.allclose(written[row], source[from_row], rtol=2.0**-8, atol=0):
                raise ConversionError(f"{path}: {name}, row {row} differs from {gguf_name}")
        progress.update(done)


def make_tokenizer(gguf):
    """tokenizer.json: byte-level BPE whose pre-tokenizer takes digits one by one."""
    tokens, kinds = gguf["tokenizer.ggml.tokens"], gguf["tokenizer.ggml.token_type"]
    if gguf["tokenizer.ggml.model"] != "gpt2" or gguf["tokenizer.ggml.pre"] != "smollm":
        raise ConversionError("the GGUF file has another tokenizer than SmolLM2's")
    control, user_defined = 3, 4  # GGUF's token types
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": kind == control}
            for i, (token, kind) in enumerate(zip(tokens, kinds)) if kind in (control, user_defined)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": gguf["tokenizer.ggml.merges"],
        },
    }


def make_tokenizer_config(gguf, config):
    tokens = gguf["tokenizer.ggml.tokens"]
    return {
        "add_prefix_space": False,
        "bos_token": tokens[config["bos_token_id"]],
        "chat_template": gguf["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[config["eos_token_id"]],
        "model_max_length": config["max_position_embeddings"],
        "pad_token": tokens[config["pad_token_id"]],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": tokens[gguf["tokenizer.ggml.unknown_token_id"]],
    }
