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
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

from small_runs import SmallRuns

INTERRUPTED = 75  # the program's status for what a signal ended in good order
PATIENCE = 120  # seconds for a run that is to end by itself
STOPS_WITHIN = 4  # seconds from a signal to the end: 2 s and what a loaded machine adds
problems = []
checks = 0


def check(good, what, detail=""):
    global checks
    checks += 1
    if good:
        return True
    problems.append(what)
    print(f"  FAILED: {what}\n{detail[-1500:]}", flush=True)
    return False


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


def shared_memory():
    return {entry.name for entry in pathlib.Path("/dev/shm").iterdir() if "spd" in entry.name}


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


def leftovers(one, folder, undisturbed, killed):
    """Names that nobody asked for. What nothing can remove after SIGKILL is let pass."""
    extra = folder.names() - undisturbed.names - set(one.stores)
    if killed:
        extra = {name for name in extra if not name.startswith(".")}
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
    shared = shared_memory()
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
    extra = leftovers(one, folder, undisturbed, killed)
    check(not extra, f"{one.name}, {when}: leaves {extra}", words)
    check(shared_memory() <= shared, f"{one.name}, {when}: leaves {shared_memory() - shared}")
    after = items_of(folder.path)
    check(
        all(after.get(key) == line for key, line in before.items()),
        f"{one.name}, {when}: items are gone",
        f"{len(before)} before, {len(after)} behind",
    )
    there = {key: dict(line) for key, line in after.items()}

    command = one.command(runs.spd, folder.path)
    if one.resume and (folder.path / one.outputs["--out"]).exists():
        command += one.resume
    again = run(command)
    check(again.returncode == 0, f"{one.name}, {when}: does not go on", again.words)
    check_files(runs, one, folder.path, when + " and gone on")
    extra = leftovers(one, folder, undisturbed, killed)
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


@contextlib.contextmanager
def mounted(folder, *words):
    """Mounts on `folder` for a while."""
    subprocess.run(["mount", *words, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disks(runs, parent):
    for one in runs.runs:
        for flag, name in [*one.outputs.items(), ("stdout", "stdout.txt")]:
            what = f"{one.name} {flag}"
            folder = Folder(parent, one.name)
            disk = folder.path / "disk"
            disk.mkdir()
            with mounted(disk, "-t", "tmpfs", "-o", "size=16k", "none"):
                old = "what was there before\n"
                (disk / name).write_text(old)
                with contextlib.suppress(OSError):
                    (disk / "filler").write_bytes(b"x" * 65536)
                with contextlib.suppress(OSError):
                    while True:
                        with open(disk / "filler", "ab", buffering=0) as filler:
                            filler.write(b"x")
                there = {entry.name for entry in disk.iterdir()}
                if flag == "stdout":
                    with open(disk / name, "ab") as stdout:
                        outcome = run(one.command(runs.spd, folder.path), stdout=stdout)
                else:
                    outcome = run(redirected(runs, one, folder, flag, disk / name))
                check(outcome.returncode not in (0, 124), f"{what}: full disk, status 0 or none")
                check(
                    "No space left on device" in outcome.words,
                    f"{what}: does not say that the disk is full",
                    outcome.words,
                )
                if name != "items.jsonl":  # that one is of another run, which is also said
                    check((disk / name).read_text() == old, f"{what}: the old file is gone")
                extra = {entry.name for entry in disk.iterdir()} - there
                check(not extra, f"{what}: leaves {extra} on the full disk")
        say(f"{one.name}: full disks")


def redirected(runs, one, folder, flag, place):
    """The command with one of its outputs at `place`."""
    command = one.command(runs.spd, folder.path)
    command[command.index(flag) + 1] = str(place)
    return command


class Reader:
    """Reads a FIFO until its writer has gone."""

    def __init__(self, fifo):
        self.text = b""
        self._fifo = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self._done = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        while True:
            try:
                more = os.read(self._fifo, 65536)
            except BlockingIOError:
                more = b""
            self.text += more
            if not more:
                if self._done:
                    break
                time.sleep(0.01)

    def finish(self):
        self._done = True
        self._thread.join()
        os.close(self._fifo)
        return self.text


def wrong_paths(runs, parent):
    as_root = os.geteuid() == 0
    for one in runs.runs:
        undisturbed = Undisturbed(runs, one, parent)
        for flag, name in one.outputs.items():
            for way in WAYS:
                if way in ("read-only", "full device") and not as_root:
                    continue
                folder = Folder(parent, one.name)
                wrong_path(runs, one, undisturbed, flag, name, way, folder)
        say(f"{one.name}: wrong paths")


WAYS = ("missing folder", "folder", "file as folder", "read-only", "full device", "fifo",
        "dangling link", "link", "no UTF-8")


def wrong_path(runs, one, undisturbed, flag, name, way, folder):
    what = f"{one.name} {flag}, {way}"
    place = folder.path / "place"
    place.mkdir()
    target = place / name
    elsewhere = folder.path / "elsewhere"
    elsewhere.mkdir()
    reader = None
    with contextlib.ExitStack() as mounts:
        if way == "missing folder":
            target = place / "not" / "there" / name
        elif way == "folder":
            target.mkdir()
        elif way == "file as folder":
            (place / "file").write_text("x")
            target = place / "file" / name
        elif way == "read-only":
            mounts.enter_context(mounted(place, "-t", "tmpfs", "-o", "ro,size=16k", "none"))
        elif way == "full device":
            os.mknod(target, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        elif way == "fifo":
            os.mkfifo(target)
            reader = Reader(target)
        elif way == "dangling link":
            target.symlink_to(elsewhere / name)
        elif way == "link":
            (elsewhere / name).write_text("")
            target.symlink_to(elsewhere / name)
        elif way == "no UTF-8":
            target = pathlib.Path(os.fsdecode(os.fsencode(place) + b"/\xff-" + name.encode()))
        begin = set(place.iterdir())
        outcome = run(redirected(runs, one, folder, flag, target))
        piped = reader.finish() if reader else b""
        refused = outcome.returncode != 0
        check(outcome.returncode in (0, 2, 3, 4), f"{what}: status {outcome.returncode}",
              outcome.words)
        if refused:
            check(str(name) in outcome.words and flag in outcome.words,
                  f"{what}: does not name flag and file", outcome.words)
            check("remedy: " in outcome.words, f"{what}: no remedy", outcome.words)
            if way != "full device":  # which is seen when it is written
                at_once = outcome.seconds < max(0.5 * undisturbed.seconds, 1.0)
                check(at_once, f"{what}: refused after {outcome.seconds:.1f} s", outcome.words)
            extra = set(place.iterdir()) - begin
            check(not extra, f"{what}: leaves {extra}")
        if way in ("missing folder", "no UTF-8", "dangling link", "link"):
            check(not refused, f"{what}: is refused", outcome.words)
            check(refused or target.stat().st_size > 0, f"{what}: nothing was written")
        if way in ("folder", "file as folder", "read-only", "full device"):
            check(refused, f"{what}: is not refused")
        if way in ("link", "dangling link"):
            check(target.is_symlink(), f"{what}: the link was replaced")
        if way == "fifo":
            check(stat.S_ISFIFO(os.stat(target).st_mode), f"{what}: the FIFO was replaced")
            check(refused or len(piped) > 0, f"{what}: nothing came through the FIFO")
        if way == "full device":
            check(stat.S_ISCHR(os.stat(target).st_mode), f"{what}: the device was replaced")
    shutil.rmtree(folder.path)


def can_mount():
    with tempfile.TemporaryDirectory() as folder:
        words = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", folder]
        if subprocess.run(words, stderr=subprocess.DEVNULL).returncode != 0:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def private_mounts():
    """Starts this program again where its mounts are its own, if it is not so already."""
    if os.environ.get("SPD_OWN_MOUNTS") == "1" or os.geteuid() != 0:
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
    say(f"{checks} checks, {len(problems)} failed")
    for what in problems:
        say(f"FAILED: {what}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
