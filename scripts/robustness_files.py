"""Outputs that cannot be written, or not as usual: full disks and wrong paths."""

import contextlib
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import threading
import time

from robustness_checks import Folder, Undisturbed, check, run, say


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
                old = "before.\n" * 512  # whole pages: nothing more has room in them
                if flag != one.reads:
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
                if flag != one.reads:
                    check((disk / name).read_text() == old, f"{what}: the old file is gone")
                extra = {entry.name for entry in disk.iterdir()} - there - {name, *one.stores}
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
            if flag != one.reads:
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
