#!/usr/bin/env python3
"""Disturbs every subcommand and looks whether anything that it had called done is lost.

  once   each subcommand runs once
  kill   each is ended at random moments by SIGKILL and SIGTERM, then run again to its end
  disk   each output, stdout too, goes to a full disk (needs to mount: root)
  paths  each output's path is wrong in every way there is, one at a time

The model is a tiny one with random weights (scripts/small_runs.py). Exits with 1 if anything was
lost, left over or torn, with 77 where what was asked for cannot be had on this machine.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from robustness_checks import PATIENCE, Folder, Undisturbed, check, check_files, findings
from robustness_checks import items_of, run, say, whole_lines
from robustness_files import can_mount, full_disks, wrong_paths
from small_runs import SmallRuns

INTERRUPTED = 75  # the program's status for what a signal ended in good order
STOPS_WITHIN = 4  # seconds from a signal to the end: 2 s and what a loaded machine adds


def shared_memory():
    """Names in /dev/shm, where that is this program's own."""
    if not has_own_mounts():
        return set()
    return {entry.name for entry in pathlib.Path("/dev/shm").iterdir()}


def repairs_of(plan, whole=False):
    """The name of the file that a plan has its repairs in: it changes with its content. `whole`:
    of a plan that no command works on any more."""
    try:
        plan = json.loads(plan.read_text())
        return set() if whole and not plan.get("complete", True) else {plan["repair"]["file"]}
    except (OSError, ValueError, KeyError):
        return set()


def leftovers(one, folder, killed):
    """Names that nobody asked for. What nothing can remove after SIGKILL is let pass."""
    plan = folder.path / one.outputs.get("--out", "none")
    asked_for = set(one.outputs.values()) | set(one.stores) | repairs_of(plan)
    extra = folder.names() - asked_for
    if killed:
        # Repairs are written before the plan that names them: at most one file is nobody's then.
        orphans = sorted(name for name in extra
                         if re.fullmatch(re.escape(plan.stem) + r"\.[0-9a-f]{8}\.safetensors", name))
        extra = {name for name in extra if not name.startswith(".")} - set(orphans[:1])
    return sorted(extra)


def disturb(runs, one, folder, number, after):
    """Sends a signal `after` seconds from the start. What was there just before, and the outcome."""
    with open(folder.path.with_suffix(".stdout"), "wb") as stdout:
        process = subprocess.Popen(
            one.command(runs.spd, folder.path),
            stdout=stdout,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        before = items_of(folder.path)
        process.send_signal(number)
        sent = time.monotonic()
        try:
            words = process.communicate(timeout=PATIENCE)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            words = process.communicate()[1].decode(errors="replace")
    return before, process.returncode, time.monotonic() - sent, words


def kill_once(runs, one, undisturbed, parent, number, moment):
    name = signal.Signals(number).name
    when = f"{name} at {moment:.0%}"
    folder = Folder(parent, one.name)
    before, status, took, words = disturb(
        runs, one, folder, number, moment * undisturbed.seconds
    )
    told = folder.path.with_suffix(".stdout").read_text(errors="replace")
    killed = number == signal.SIGKILL
    if not killed:
        # Before main() begins nobody is there to answer.
        early = status == -number and not told and moment * undisturbed.seconds < 0.3
        check(
            status in (0, INTERRUPTED) or early,
            f"{one.name}, {when}: ends with {status}, not {INTERRUPTED}",
            words,
        )
        check(took < STOPS_WITHIN, f"{one.name}, {when}: took {took:.1f} s to end", words)
        if status == INTERRUPTED:
            check(name in words, f"{one.name}, {when}: does not say why", words)
    check_files(runs, one, folder.path, when)
    if one.stdout == "jsonl":
        whole_lines(told, f"{one.name}, {when}: stdout")
    extra = leftovers(one, folder, killed)
    check(not extra, f"{one.name}, {when}: leaves {extra}", words)
    check(not shared_memory(), f"{one.name}, {when}: leaves {shared_memory()} in /dev/shm")
    after = items_of(folder.path)
    check(
        all(after.get(key) == line for key, line in before.items()),
        f"{one.name}, {when}: items are gone",
        f"{len(before)} before, {len(after)} behind",
    )
    there = {key: dict(line) for key, line in after.items()}

    # Those of a plan that was whole stay when it is replaced.
    earlier = repairs_of(folder.path / one.outputs.get("--out", "none"), whole=True)
    command = one.command(runs.spd, folder.path)
    if one.resume and (folder.path / one.outputs["--out"]).exists():
        command += one.resume
    again = run(command)
    check(again.returncode == 0, f"{one.name}, {when}: does not go on", again.words)
    check_files(runs, one, folder.path, when + " and gone on")
    extra = set(leftovers(one, folder, killed)) - earlier
    check(not extra, f"{one.name}, {when} and gone on: leaves {extra}")
    check(not folder.names() & set(one.stores), f"{one.name}, {when}: stores stay behind")
    final = items_of(folder.path)
    check(
        final.keys() == undisturbed.items.keys()
        and all(final[key] == line for key, line in there.items()),
        f"{one.name}, {when}: items differ when gone on",
    )
    shutil.rmtree(folder.path)
    return status


def kill_all(runs, parent, times, seed):
    draw = random.Random(seed)
    for one in runs.runs:
        undisturbed = Undisturbed(runs, one, parent)
        ends = {}
        for number in (signal.SIGKILL, signal.SIGTERM):
            for _ in range(times):
                status = kill_once(runs, one, undisturbed, parent, number, draw.random())
                ends[status] = ends.get(status, 0) + 1
        say(f"{one.name}: {2 * times} signals over {undisturbed.seconds:.1f} s, statuses {ends}")


def has_own_mounts():
    return os.environ.get("SPD_OWN_MOUNTS") == "1"


def private_mounts():
    """Starts this program again where mounts and /dev/shm are its own, if it is not so already."""
    if has_own_mounts():
        mount = ["mount", "-t", "tmpfs", "-o", "size=1g", "none", "/dev/shm"]
        subprocess.run(mount, stderr=subprocess.DEVNULL, check=False)
    if has_own_mounts() or os.geteuid() != 0:
        return
    environment = dict(os.environ, SPD_OWN_MOUNTS="1")
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    if subprocess.run([*words[:4], "true"], stderr=subprocess.DEVNULL).returncode == 0:
        os.execvpe(words[0], words, environment)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="+", choices=("once", "kill", "disk", "paths"))
    parser.add_argument("--spd", default="build/release/runtime/spd")
    parser.add_argument("--times", type=int, default=30, help="signals of each kind (default 30)")
    parser.add_argument("--effort", type=int, default=100, help="of a run to be killed")
    parser.add_argument("--only", help="one subcommand, e.g. \"eval tasks\"")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    private_mounts()
    if "disk" in options.faults and not can_mount():
        say("skipped: full disks need the right to mount")
        options.faults.remove("disk")
        if not options.faults:
            return 77
    with tempfile.TemporaryDirectory(prefix="spd-robustness-") as folder:
        for fault in options.faults:
            inputs = pathlib.Path(folder) / fault
            outputs = inputs / "out"
            outputs.mkdir(parents=True)
            effort = options.effort if fault == "kill" else 1
            runs = SmallRuns(options.spd, inputs, effort)
            if options.only:
                runs.runs = [one for one in runs.runs if one.name == options.only]
            if fault == "once":
                for one in runs.runs:
                    say(f"{one.name}: {Undisturbed(runs, one, outputs).seconds:.1f} s")
            elif fault == "kill":
                kill_all(runs, outputs, options.times, options.seed)
            elif fault == "disk":
                full_disks(runs, outputs)
            else:
                wrong_paths(runs, outputs)
    say(f"{findings.checks} checks, {len(findings.problems)} failed")
    for what in findings.problems:
        say(f"FAILED: {what}")
    return 1 if findings.problems else 0


if __name__ == "__main__":
    sys.exit(main())
