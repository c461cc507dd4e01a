#!/usr/bin/env python3
"""Writes a LLaMA-family Hugging Face directory (bf16) as a GGUF file that llama.cpp can run.

For scripts/peer/bench.sh: the same weights, bit for bit in bf16, rounded to nearest in f16.
Norms are f32, as llama.cpp's own converter writes them.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import own_venv  # noqa: E402

PRE_TOKENIZER = "smollm"  # only names it: the benchmark feeds ids


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", choices=["bf16", "f16"], default="bf16")
    return parser.parse_args()


def read_bf16(path):
    """Name -> bf16 bits, mapped."""
    import numpy as np
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    length = int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:8 + length].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "BF16":
            raise ValueError(f"{path}: {name} is {entry['dtype']}, not BF16")
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = raw[begin:end].view("<u2").reshape(entry["shape"])
    return tensors


def to_f32(bits):
    import numpy as np
    return (bits.astype(np.uint32) << 16).view(np.float32)


def interleaved(rows, heads):
    """GGUF's row order of q and k: rotary pair i of a head is rows 2i and 2i + 1, where a Hugging
    Face checkpoint has it in rows i and i + head_dim / 2."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def add_metadata(writer, config, tokenizer):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    vocab = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(vocab, key=vocab.get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge)
                             for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


def tensor_map(config):
    """GGUF name -> (Hugging Face name, heads whose rows are to be interleaved or 0)."""
    names = {"token_embd": ("model.embed_tokens", 0), "output_norm": ("model.norm", 0)}
    if not config.get("tie_word_embeddings"):
        names["output"] = ("lm_head", 0)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    for i in range(config["num_hidden_layers"]):
        for ours, theirs, order in [
                ("attn_norm", "input_layernorm", 0), ("attn_q", "self_attn.q_proj", heads),
                ("attn_k", "self_attn.k_proj", kv_heads), ("attn_v", "self_attn.v_proj", 0),
                ("attn_output", "self_attn.o_proj", 0), ("ffn_norm", "post_attention_layernorm", 0),
                ("ffn_gate", "mlp.gate_proj", 0), ("ffn_up", "mlp.up_proj", 0),
                ("ffn_down", "mlp.down_proj", 0)]:
            names[f"blk.{i}.{ours}"] = (f"model.layers.{i}.{theirs}", order)
    return names


def main():
    arguments = parse_arguments()
    own_venv.enter()
    import gguf
    import numpy as np
    config = json.loads((arguments.model / "config.json").read_text())
    if config["model_type"] != "llama":
        raise ValueError(f"{arguments.model}: model_type is {config['model_type']}, not llama")
    tokenizer = json.loads((arguments.model / "tokenizer.json").read_text(encoding="utf-8"))
    tensors = read_bf16(arguments.model / "model.safetensors")
    partial = arguments.out.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    bf16 = arguments.type == "bf16"
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if bf16 else gguf.LlamaFileType.MOSTLY_F16)
    add_metadata(writer, config, tokenizer)
    for name, (source, heads) in tensor_map(config).items():
        bits = tensors[f"{source}.weight"]
        if bits.ndim == 1:
            writer.add_tensor(f"{name}.weight", to_f32(bits))
            continue
        bits = np.ascontiguousarray(interleaved(bits, heads) if heads else bits)
        if bf16:
            writer.add_tensor(f"{name}.weight", bits.view(np.uint8),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(f"{name}.weight", to_f32(bits).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.0f} MB, {arguments.type}")


if __name__ == "__main__":
    try:
        main()
    except (own_venv.VenvError, OSError, ValueError) as error:
        sys.exit(f"scripts/peer/hf_to_gguf.py: {error}")
