"""What robustness.py and robustness_files.py look for, and how they run things."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

PATIENCE = 120  # seconds for a run that is to end by itself


class Findings:
    """What was checked so far, and what was wrong."""

    def __init__(self):
        self.checks = 0
        self.problems = []


findings = Findings()


def check(good, what, detail=""):
    findings.checks += 1
    if not good:
        findings.problems.append(what)
        print(f"  FAILED: {what}\n{detail[-1500:]}", flush=True)
    return good


def say(text):
    print(text, flush=True)


class Folder:
    """A folder for one run's outputs."""

    def __init__(self, parent, name):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=name.replace(" ", "-") + "-", dir=parent))

    def names(self):
        return {entry.name for entry in self.path.iterdir()}


def run(command, stdout=None, timeout=PATIENCE):
    """The outcome, with .seconds; 124 stands for a run that had to be ended."""
    begin = time.monotonic()
    try:
        outcome = subprocess.run(
            command,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as late:
        outcome = subprocess.CompletedProcess(command, 124, late.stdout or b"", b"it hangs")
    outcome.seconds = time.monotonic() - begin
    outcome.words = (outcome.stderr or b"").decode(errors="replace")
    return outcome


def whole_lines(text, what):
    """The results of a file of JSON lines; only the last line may be cut."""
    lines = text.split("\n")
    results = []
    for number, line in enumerate(lines):
        try:
            if line:
                results.append(json.loads(line))
        except ValueError:
            check(number == len(lines) - 1, f"{what}: line {number + 1} is torn", line)
    return results


class Undisturbed:
    """What a run gives when nothing happens to it."""

    def __init__(self, runs, one, parent):
        folder = Folder(parent, one.name)
        outcome = run(one.command(runs.spd, folder.path))
        check(outcome.returncode == 0, f"{one.name}: ends with {outcome.returncode}", outcome.words)
        self.seconds = outcome.seconds
        self.stdout = (outcome.stdout or b"").decode(errors="replace")
        self.names = folder.names()
        self.items = items_of(folder.path)
        for name in one.outputs.values():
            check(name in self.names, f"{one.name}: does not write {name}")
        check_files(runs, one, folder.path, "undisturbed")


def items_of(folder):
    """The items of a run, whatever their order: {(task, item): line}."""
    file = folder / "items.jsonl"
    if not file.exists():
        return {}
    lines = whole_lines(file.read_text(errors="replace"), str(file))
    return {(line["task"], line["item"]): line for line in lines if "item" in line}


def check_files(runs, one, folder, when):
    """Nothing under a final name is torn, and a plan fits its repairs."""
    for name in one.outputs.values():
        file = folder / name
        if not file.is_file():
            continue
        text = file.read_text(errors="replace")
        if name.endswith(".json"):
            try:
                json.loads(text)
            except ValueError as error:
                check(False, f"{one.name}, {when}: {name} is torn: {error}", text)
        elif name.endswith(".svg"):
            check("</svg>" in text, f"{one.name}, {when}: {name} is torn", text)
        elif name.endswith(".jsonl"):
            whole_lines(text, f"{one.name}, {when}: {name}")
    plan = folder / one.outputs.get("--out", "none")
    if plan.is_file():
        words = ["generate", "-m", str(runs.folder / "model"), *runs.ranks, "--plan", str(plan)]
        outcome = run([str(runs.spd), *words, "--prompt", "a", "-n", "1"])
        check(outcome.returncode == 0, f"{one.name}, {when}: the plan does not load", outcome.words)
