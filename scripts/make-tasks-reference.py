#!/usr/bin/env python3
"""Makes tests/fixtures/tasks/reference.json: what lm-evaluation-harness makes of a few items.

The harness's own task definitions turn the items into requests, and its own scorer runs them on
the model by transformers in fp32: an oracle that shares nothing with runtime/tasks. Of each item
the fixture holds both forms of data that are read, the request strings, the log-likelihoods and the
verdicts.

Needs a network once (a virtual environment of its own under build/: 6 GB with torch's GPU
libraries, none of which is used), 3 GB of memory, a few minutes.

    python3 scripts/make-tasks-reference.py --data DIR [--model models/smollm2-135m]

DIR holds the tasks' .jsonl files in the compact form (see runtime/tasks/loader.h).
"""

import argparse
import json
import os
import pathlib
import tempfile

import own_venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "fixtures" / "tasks" / "reference.json"
ITEMS = 10
LONGEST = 500  # characters of an item's line: long ones would only make the fixture large
REQUIREMENTS = ["torch==2.15.0", "transformers", "safetensors", "accelerate", "lm-eval==0.4.13"]


def lambada(item):
    return {"text": item["context"] + " " + item["continuation"]}


def piqa(item):
    return {"goal": item["query"].removeprefix("Question: ").removesuffix("\n"),
            "sol1": item["choices"][0], "sol2": item["choices"][1], "label": item["gold"]}


def arc(item):
    labels = [chr(ord("A") + i) for i in range(len(item["choices"]))]
    return {"question": item["query"].removeprefix("Question: "),
            "choices": {"text": item["choices"], "label": labels},
            "answerKey": labels[item["gold"]]}


def sciq(item):
    assert item["gold"] == 3
    return {"support": item["support"], "question": item["question"],
            "distractor1": item["choices"][0], "distractor2": item["choices"][1],
            "distractor3": item["choices"][2], "correct_answer": item["choices"][3]}


def winogrande(item):
    first, second = item["context_options"]
    begin = len(os.path.commonprefix([first + "|", second + "|"]))
    begin = first.rfind(" ", 0, begin) + 1
    return {"sentence": first[:begin] + "_ " + item["continuation"],
            "option1": first[begin:], "option2": second[begin:], "answer": str(item["gold"] + 1)}


def hellaswag(item):
    label, context = item["query"].split(": ", 1)
    at = max(context.rfind(mark) for mark in (". ", "! ", "? ")) + 2
    fragment = context[at:]
    if at < 2 or not fragment[0].islower():
        at, fragment = len(context) + 1, ""
    return {"activity_label": label, "ctx_a": context[: at - 1], "ctx_b": fragment,
            "endings": item["choices"], "label": str(item["gold"])}


TASKS = {
    "lambada_openai": ("lambada_openai.jsonl", lambada),
    "piqa": ("piqa.jsonl", piqa),
    "hellaswag": ("hellaswag_val.jsonl", hellaswag),
    "winogrande": ("winogrande.jsonl", winogrande),
    "arc_easy": ("arc_easy.jsonl", arc),
    "arc_challenge": ("arc_challenge.jsonl", arc),
    "sciq": ("sciq.jsonl", sciq),
}
# What the WikiHow half of HellaSwag's original has, which the compact form has cleaned already.
MARKED = {"activity_label": "Home and Garden", "label": "1",
          "ctx_a": "[header] How to sweep a floor [title] Clear the floor. [step] Pick up toys.",
          "ctx_b": "then  take Your broom",
          "endings": ["[substeps] Eat it.", "Sweep to the door. [title] Use a pan.", "Sing.",
                      " Paint the  wall."]}


def choose(path):
    """Items spread over the file, none of them long."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) <= LONGEST]
    step = len(lines) // ITEMS
    return [json.loads(lines[i * step]) for i in range(ITEMS)]


def make_task(name, natives, folder):
    """The harness's definition of the task, over a file of ours instead of the hub's data."""
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    path = pathlib.Path(folder) / f"{name}.jsonl"
    path.write_text("".join(json.dumps(native) + "\n" for native in natives))
    files = {split: str(path) for split in ("train", "validation", "test")}
    definition = next(pathlib.Path(lm_eval.tasks.__file__).parent.glob(
        "winogrande/default.yaml" if name == "winogrande" else f"*/{name}.yaml"))
    config = load_yaml(definition, resolve_func=True)
    config.update(dataset_path="json", dataset_name=None, dataset_kwargs={"data_files": files})
    return ConfigurableTask(config=config)


def requests_of(task, doc):
    context = task.doc_to_text(doc)
    if task.multiple_input:  # the prompt differs by choice, the continuation does not
        context = task.doc_to_choice(doc)
    made = task.construct_requests(doc=doc, ctx=context, metadata=(None, 0, 1))
    return made if isinstance(made, list) else [made]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "smollm2-135m")
    arguments = parser.parse_args()
    own_venv.enter(ROOT / "build" / "tasks-venv", REQUIREMENTS)

    from importlib.metadata import version

    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(arguments.model), dtype="float32", device="cpu", batch_size=1)
    reference = {"made_by": f"lm-evaluation-harness {version('lm-eval')}, transformers "
                            f"{version('transformers')}, fp32"}
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, to_native) in TASKS.items():
            compact = choose(arguments.data / file)
            natives = [to_native(item) for item in compact]
            if name == "hellaswag":
                compact.append(None)
                natives.append(MARKED)
            task = make_task(name, natives, folder)
            items = []
            for doc, item, native in zip(task.eval_docs, compact, natives):
                made = requests_of(task, doc)
                answers = model.loglikelihood(made, disable_tqdm=True)
                results = answers if len(made) > 1 else [answers[0]]
                items.append({
                    "compact": item, "native": native,
                    "requests": [list(one.args) for one in made],
                    "log_likelihood_nats": [round(float(value), 5) for value, _ in answers],
                    "greedy": [bool(greedy) for _, greedy in answers],
                    "metrics": {key: float(value) for key, value in
                                task.process_results(doc, results).items()
                                if key in ("acc", "acc_norm")}})
            reference[name] = items
            print(name, *(item["metrics"] for item in items[:3]), flush=True)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    parts = [f"{json.dumps(key)}: "
             + (json.dumps(value) if isinstance(value, str) else
                "[\n" + ",\n".join(json.dumps(item) for item in value) + "\n]")
             for key, value in reference.items()]
    TARGET.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
