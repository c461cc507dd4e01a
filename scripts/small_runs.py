"""Every subcommand on a model of a few hundred kilobytes: what robustness.py runs and disturbs.

`effort` stretches a run: at 1 it takes a fraction of a second, at 20 a second or two.
"""

import json
import pathlib
import shutil
import subprocess
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent


def write_model(folder):
    """Random weights from the fixtures and a tokenizer of one token a character."""
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(ROOT / "tests/fixtures/models/llama" / name, folder)
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, "\u0120": 3, "\u010a": 4}
    for code in range(ord("!"), ord("~") + 1):
        vocab[chr(code)] = len(vocab)
    special = dict(special=True, lstrip=False, rstrip=False, single_word=False, normalized=False)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            dict(special, id=i, content=token) for i, token in enumerate(("<unk>", "<s>", "</s>"))
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template, "eos_token": "</s>"})
    )


def write_tasks(folder, items):
    """Task data in the form that the datasets library exports, short enough for the model."""
    folder.mkdir()
    lines = {
        "lambada_openai": {"text": "the cat sat on the mat"},
        "piqa": {"goal": "Open a jar", "sol1": "turn it", "sol2": "push it", "label": 0},
        "winogrande": {
            "sentence": "Ann met Eve and _ smiled.",
            "option1": "Ann",
            "option2": "Eve",
            "answer": "1",
        },
        "arc_easy": {
            "question": "Where is it cold?",
            "choices": {"text": ["north", "fire"], "label": ["A", "B"]},
            "answerKey": "A",
        },
        "sciq": {
            "support": "Ice is cold.",
            "question": "What is ice?",
            "distractor1": "hot",
            "distractor2": "dry",
            "distractor3": "red",
            "correct_answer": "cold",
        },
    }
    lines["arc_challenge"] = lines["arc_easy"]
    lines["hellaswag"] = {
        "activity_label": "Rest",
        "ctx_a": "He sat.",
        "ctx_b": "he",
        "endings": ["slept.", "ran.", "ate.", "sang."],
        "label": "0",
    }
    for name, line in lines.items():
        (folder / f"{name}.jsonl").write_text((json.dumps(line) + "\n") * items)


@dataclass
class Run:
    """One subcommand: its words without outputs, and the outputs by their flags."""

    name: str
    words: list
    outputs: dict  # flag: file name in the folder that the run writes to
    stdout: str = "text"  # "jsonl": a result a line
    resume: list = None  # words that make the same command go on; None: it begins anew
    stores: list = field(default_factory=list)  # names that may be there until it is done
    reads: str = None  # the flag whose file is read first, to go on with what it holds

    def command(self, spd, out):
        words = [str(spd), self.name.split()[0], *self.words]
        for flag, name in self.outputs.items():
            words += [flag, str(out / name)]
        return words


class SmallRuns:
    """The inputs in `folder`, and the runs. `ranks`: of each."""

    def __init__(self, spd, folder, effort=1, ranks=2):
        self.spd = pathlib.Path(spd).resolve()
        self.folder = pathlib.Path(folder)
        self.ranks = ["--virtual-ranks", str(ranks), "--pin", "0"]
        write_model(self.folder / "model")
        letters = "".join(chr(ord("a") + i * i % 23 % 7) for i in range(400 * (4 + effort)))
        (self.folder / "text.txt").write_text(letters)
        prompts = [json.dumps({"prompt": "word " * (1 + i % 5)}) for i in range(10 * effort)]
        (self.folder / "prompts.jsonl").write_text("\n".join(prompts) + "\n")
        write_tasks(self.folder / "tasks", 2 * effort)
        (self.folder / "topology.json").write_text(
            json.dumps(
                {
                    "schema": "spd.topology/1",
                    "ranks_per_node": [ranks],
                    "all_reduce": [{"group": "world", "alpha_us": 100, "us_per_byte": 0.01}],
                }
            )
        )
        self._measure_sensitivities()
        self.runs = [run for run in self._table(effort) if self._knows(run.name.split()[0])]

    def _path(self, name):
        return str(self.folder / name)

    def _model(self):
        return ["-m", self._path("model"), *self.ranks]

    def _knows(self, subcommand):
        text = subprocess.run([self.spd, "--help"], capture_output=True, text=True, check=True)
        return f"\n  {subcommand} " in text.stdout

    def _measure_sensitivities(self):
        words = ["sensitivity", *self._model(), "--text", self._path("text.txt"), "--window", "32"]
        subprocess.run(
            [self.spd, *words, "--limit", "4", "--json", self._path("sensitivity.json")],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def _table(self, effort):
        model, text = self._model(), ["--text", self._path("text.txt")]
        prompts = ["--prompts", self._path("prompts.jsonl")]
        dropped = [*model, "--drop", "attn:all", *text]
        return [
            Run(
                "generate",
                [*model, *prompts, "-n", "40", "--ignore-eos", "--format", "jsonl"],
                {"--json": "result.json"},
                stdout="jsonl",
            ),
            Run("eval text", [*model, *text, "--window", "16"], {"--json": "result.json"}),
            Run(
                "eval tasks",
                [*model, "--tasks", "all", "--data", self._path("tasks")],
                {"--items": "items.jsonl", "--json": "result.json"},
                resume=[],
                reads="--items",
            ),
            Run(
                "sensitivity",
                [*model, *text, "--window", "32", "--limit", str(8 * effort)],
                {"--json": "result.json", "--plot": "plot.svg"},
                resume=[],
                reads="--json",
            ),
            Run(
                "plan",
                [*model, *text, "--topology", self._path("topology.json")]
                + ["--sensitivity", self._path("sensitivity.json"), "--max-loss", "50%"]
                + ["--window", "16", "--limit", str(8 * effort), "--prompt", "32", "--gen", "8"],
                {"--out": "plan.json", "--json": "result.json", "--plot": "plot.svg"},
                resume=[],
                stores=["plan.json.trials"],
            ),
            Run(
                "repair",
                [*dropped, "--window", "32", "--windows", str(6 + 2 * effort)]
                + ["--held-out", "2", "--tau1", "0"],
                {"--out": "plan.json", "--json": "result.json"},
                resume=[],
                stores=["plan.json.partial"],
            ),
            Run(
                "distill",
                [*dropped, "--window", "32", "--tokens", "256", "--held-out", "64"]
                + ["--epochs", str(effort), "--logits", str(effort), "--patience", "99"],
                {"--out": "plan.json", "--json": "result.json"},
                resume=["--resume"],
                stores=["plan.json.progress"],
            ),
            Run(
                "bench",
                [*model, "--prompt-tokens", "32", "--gen-tokens", "8", "-r", str(effort)],
                {"--json": "result.json"},
            ),
            Run(
                "topo",
                ["--virtual-ranks", "2", "--max-kib", "64", "--seconds", str(0.1 * effort)],
                {"--json": "result.json"},
            ),
            Run("tokenize", ["-m", self._path("model"), *prompts], {"--json": "result.json"}),
        ]
