#!/usr/bin/env python3
"""Makes tests/fixtures/gradients/gradients.json: gradients of small models by torch's autograd, f64.

The decoder blocks of tests/fixtures/models/*, split over ranks, with syncs dropped, kept within
nodes, and predicted: written here once more from the formulas of the design alone, so that the
trainer has an oracle that shares nothing with it. What goes in (the residual stream, the gradient
of the result, predictions) are waves that the test makes too; of what comes out the fixture holds a
few projections of each tensor.

Needs: Python 3.10+, torch (any from 1.13 on, CPU), numpy. Seconds.

    python3 scripts/make-gradient-fixtures.py
"""

import json
import math
import pathlib
import struct
import sys

import numpy
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ROOT / "tests" / "fixtures" / "models"
TARGET = ROOT / "tests" / "fixtures" / "gradients" / "gradients.json"
LENGTHS = [7, 12]  # tokens of two sequences in one step
RANK = 3  # of predictions
PROJECTIONS = 3

# Model, ranks, nodes, levels of the attention and of the mlp syncs (f, n, d), predictions.
CASES = [
    ("llama", 2, 1, "fff", "fff", False),
    ("llama", 2, 1, "ddd", "fff", True),
    ("llama", 4, 2, "dnd", "nff", True),
    ("llama", 3, 1, "ddd", "ddf", True),
    ("llama", 4, 2, "ndn", "dnf", False),
    ("llama-biases", 2, 1, "df", "ff", True),
    ("qwen3", 2, 1, "dd", "ff", True),
    ("qwen2-window", 3, 1, "ddd", "fff", True),
    ("opt", 2, 1, "dd", "ff", True),
]
LEVELS = {"f": "full", "n": "node", "d": "drop"}


def wave(seed, count):
    i = numpy.arange(count, dtype=numpy.float64)
    return numpy.sin(seed + 1.3 * i + 0.0007 * i * i)


def matrix(seed, rows, cols, scale=1.0):
    return torch.tensor(scale * wave(seed, rows * cols)).reshape(rows, cols)


def load(folder):
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        data = file.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8 : 8 + size]).items():
            if name == "__metadata__":
                continue
            assert entry["dtype"] == "F32", name
            begin, end = entry["data_offsets"]
            values = numpy.frombuffer(data[8 + size + begin : 8 + size + end], numpy.float32)
            weights[name] = torch.tensor(values.astype(numpy.float64)).reshape(entry["shape"])
    return weights


def share(count, parts, part):
    """Near-equal consecutive shares, the first ones larger."""
    size, more = divmod(count, parts)
    begin = part * size + min(part, more)
    return range(begin, begin + size + (part < more))


class Model:
    def __init__(self, name):
        self.config = json.loads((MODELS / name / "config.json").read_text())
        self.weights = load(MODELS / name)
        c = self.config
        self.opt = c["model_type"] == "opt"
        self.hidden = c["hidden_size"]
        self.heads = c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads") or self.heads
        self.head_dim = c.get("head_dim") or self.hidden // self.heads
        self.mlp = c["ffn_dim"] if self.opt else c["intermediate_size"]
        self.blocks = c["num_hidden_layers"]
        self.epsilon = 1e-5 if self.opt else c["rms_norm_eps"]
        rope = c.get("rope_parameters") or {}
        self.theta = rope.get("rope_theta") or c.get("rope_theta")
        assert c.get("rope_scaling") is None and rope.get("rope_type", "default") == "default"

    def get(self, block, name):
        prefix = "model.decoder.layers" if self.opt else "model.layers"
        return self.weights.get(f"{prefix}.{block}.{name}")

    def window(self, block):
        c = self.config
        if not c.get("use_sliding_window", c["model_type"] == "mistral"):
            return None
        if "layer_types" in c:
            sliding = c["layer_types"][block] == "sliding_attention"
        else:
            sliding = block >= c.get("max_window_layers", 0)
        return c["sliding_window"] if sliding else None


class Shard:
    """One rank's copies of one block, each a leaf whose gradient is wanted."""

    def __init__(self, model, block, rank, ranks):
        hd = model.head_dim
        self.q_heads = list(share(model.heads, ranks, rank))
        group = model.heads // model.kv_heads
        self.kv = sorted({h // group for h in self.q_heads})
        self.kv_of = [self.kv.index(h // group) for h in self.q_heads]
        rows = lambda heads: [h * hd + i for h in heads for i in range(hd)]
        neurons = list(share(model.mlp, ranks, rank))
        attention = "self_attn.{}_proj"
        out = attention.format("out" if model.opt else "o")
        ups = ["fc1"] if model.opt else ["mlp.gate_proj", "mlp.up_proj"]
        down = "fc2" if model.opt else "mlp.down_proj"
        norms = (
            ("self_attn_layer_norm", "final_layer_norm")
            if model.opt
            else ("input_layernorm", "post_attention_layernorm")
        )
        get = lambda name: model.get(block, name)
        qkv = [("q", rows(self.q_heads)), ("k", rows(self.kv)), ("v", rows(self.kv))]
        self.leaf = {}

        def add(name, parts):
            if all(part is not None for part in parts):
                self.leaf[name] = torch.cat(parts).clone().requires_grad_()

        def select(kind, names):
            found = [(get(f"{n}.{kind}"), r) for n, r in names]
            return [None if value is None else value[r] for value, r in found]

        qkv = [(attention.format(n), r) for n, r in qkv]
        ups = [(n, neurons) for n in ups]
        add("qkv", select("weight", qkv))
        add("qkv_bias", select("bias", qkv))
        add("o", [get(out + ".weight")[:, rows(self.q_heads)]])
        add("up", select("weight", ups))
        add("up_bias", select("bias", ups))
        add("down", [get(down + ".weight")[:, neurons]])
        add("attn_norm", [get(norms[0] + ".weight")])
        add("mlp_norm", [get(norms[1] + ".weight")])
        self.norm_bias = [get(n + ".bias") for n in norms]
        self.shared = [get(out + ".bias"), get(down + ".bias")]
        self.head_norms = [get("self_attn.q_norm.weight"), get("self_attn.k_norm.weight")]
        self.window = model.window(block)
        self.inner = [len(self.q_heads) * hd, len(neurons)]

    def add_predictions(self, model, block, rank):
        for p, point in enumerate(["attn", "mlp"]):
            seed = 100.0 + 10 * block + 3 * rank + p
            sizes = {
                "from_input": (RANK, model.hidden),
                "from_inner": (RANK, self.inner[p]),
                "to_hidden": (model.hidden, RANK),
                "mean": (1, model.hidden),
            }
            for k, (part, (rows, cols)) in enumerate(sizes.items()):
                values = matrix(seed + 0.25 * k, rows, cols, 0.2)
                self.leaf[f"{point}.{part}"] = values.requires_grad_()


def normalise(model, x, weight, bias):
    if model.opt:
        x = x - x.mean(-1, keepdim=True)
    y = x / torch.sqrt((x * x).mean(-1, keepdim=True) + model.epsilon) * weight
    return y if bias is None else y + bias


def rotate(model, heads):
    """[length, heads, head_dim]"""
    half = model.head_dim // 2
    position = torch.arange(heads.shape[0], dtype=torch.float64)[:, None]
    angle = position * model.theta ** (-torch.arange(half, dtype=torch.float64) / half)
    cos, sin = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
    a, b = heads[..., :half], heads[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(model, shard, qkv):
    """One sequence."""
    hd, nq, nk = model.head_dim, len(shard.q_heads), len(shard.kv)
    heads = qkv.reshape(qkv.shape[0], -1, hd)
    q, k, v = heads[:, :nq], heads[:, nq : nq + nk], heads[:, nq + nk :]
    if shard.head_norms[0] is not None:
        q = normalise(model, q, shard.head_norms[0], None)
        k = normalise(model, k, shard.head_norms[1], None)
    if not model.opt:
        q, k = rotate(model, q), rotate(model, k)
    k, v = k[:, shard.kv_of], v[:, shard.kv_of]
    scores = torch.einsum("thd,shd->hts", q, k) / math.sqrt(hd)
    t = torch.arange(qkv.shape[0])
    seen = t[None, :] <= t[:, None]
    if shard.window:
        seen &= t[None, :] > t[:, None] - shard.window
    scores = scores.masked_fill(~seen, -math.inf)
    return torch.einsum("hts,shd->thd", torch.softmax(scores, -1), v).reshape(qkv.shape[0], -1)


def product(shard, name, x):
    y = x @ shard.leaf[name].T
    bias = shard.leaf.get(name + "_bias")
    return y if bias is None else y + bias


def sub_layer(model, shard, point, x):
    """Normed input, inner values, partial sum."""
    if point == 0:
        normed = normalise(model, x, shard.leaf["attn_norm"], shard.norm_bias[0])
        qkv = product(shard, "qkv", normed)
        inner = torch.cat([attend(model, shard, part) for part in torch.split(qkv, LENGTHS)])
        return normed, inner, inner @ shard.leaf["o"].T
    normed = normalise(model, x, shard.leaf["mlp_norm"], shard.norm_bias[1])
    up = product(shard, "up", normed)
    if model.opt:
        inner = torch.relu(up)
    else:
        gate, value = up.chunk(2, -1)
        inner = torch.nn.functional.silu(gate) * value
    return normed, inner, inner @ shard.leaf["down"].T


def predict(shard, point, normed, inner):
    name = ["attn", "mlp"][point]
    get = lambda part: shard.leaf[f"{name}.{part}"]
    z = normed @ get("from_input").T + inner @ get("from_inner").T
    return z @ get("to_hidden").T + get("mean")


def forward(model, shards, ranks, nodes, levels, predicted, x):
    """The residual stream behind all blocks, by the rules of model/residual_stream.h."""
    node_of = [r * nodes // ranks for r in range(ranks)]
    base = x
    zero = torch.zeros_like(x)
    delta, known, missing = [zero] * ranks, [zero] * ranks, [[] for _ in range(ranks)]
    for block in range(model.blocks):
        for point in range(2):
            level = levels[point][block]
            predictions = []
            for r in range(ranks):
                view = base + known[r] + sum((m for _, m in missing[r]), zero)
                shard = shards[block][r]
                normed, inner, partial = sub_layer(model, shard, point, view)
                delta[r], known[r] = delta[r] + partial, known[r] + partial
                if predicted and level != "f":
                    predictions.append((level, predict(shard, point, normed, inner)))
            if shards[block][0].shared[point] is not None:
                base = base + shards[block][0].shared[point]
            if level == "f":
                base = base + sum(delta)
                delta, known, missing = [zero] * ranks, [zero] * ranks, [[] for _ in range(ranks)]
            elif level == "n":
                for r in range(ranks):
                    known[r] = sum(delta[s] for s in range(ranks) if node_of[s] == node_of[r])
                    # Part of what a drop's prediction stood for is known now: start anew.
                    if any(m[0] == "d" for m in missing[r]):
                        missing[r] = []
            for r, prediction in enumerate(predictions):
                missing[r].append(prediction)
    return base


def project(values):
    values = values.detach().reshape(-1).numpy()
    projections = [values @ wave(0.5 + p, values.size) for p in range(PROJECTIONS)]
    return [float(f"{value:.8g}") for value in projections]


def run(name, ranks, nodes, attn, mlp, predicted):
    model = Model(name)
    shards = [
        [Shard(model, block, rank, ranks) for rank in range(ranks)] for block in range(model.blocks)
    ]
    for block, row in enumerate(shards):
        for rank, shard in enumerate(row):
            if predicted:
                shard.add_predictions(model, block, rank)
    tokens = sum(LENGTHS)
    x = matrix(1.0, tokens, model.hidden)
    out = forward(model, shards, ranks, nodes, (attn, mlp), predicted, x)
    (out * matrix(2.0, tokens, model.hidden, 0.1)).sum().backward()
    gradients = {}
    for block, row in enumerate(shards):
        for rank, shard in enumerate(row):
            for tensor, leaf in shard.leaf.items():
                # A prediction that no level called for has no gradient.
                if leaf.grad is not None:
                    gradients[f"{block}.{rank}.{tensor}"] = project(leaf.grad)
    return {
        "model": name,
        "ranks": ranks,
        "nodes": nodes,
        "attn": [LEVELS[level] for level in attn],
        "mlp": [LEVELS[level] for level in mlp],
        "predicted": predicted,
        "out": project(out),
        "gradients": gradients,
    }


def main():
    TARGET.parent.mkdir(exist_ok=True)
    cases = [run(*case) for case in CASES]
    fixture = {
        "made_by": f"torch {torch.__version__}, f64",
        "lengths": LENGTHS,
        "prediction_rank": RANK,
        "projections": PROJECTIONS,
        "cases": cases,
    }
    # One line a tensor: small, and still readable in a diff.
    text = json.dumps(fixture).replace('{"model"', '\n{"model"').replace('], "', '],\n"')
    TARGET.write_text(text + "\n")
    print(f"{TARGET}: {len(cases)} cases, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
