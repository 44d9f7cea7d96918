"""Finds the program and runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any, Sequence, TextIO

#: Exit codes under which an answer is printed: done; nothing found; undecided.
ANSWERED = (0, 4, 5)
#: Seconds that the program has for ending after Ctrl-C.
GRACE_S = 10.0


class MstError(RuntimeError):
    """The program ended without an answer."""

    def __init__(self, exit_code: int, words: str) -> None:
        super().__init__(words or f"mst ended with exit code {exit_code}")
        #: Its exit code; 3 is bad input.
        self.exit_code = exit_code
        #: What it said last.
        self.words = words


def find(program: str | None = None) -> str:
    """The program's path: what is given, else $MST, else the one on the PATH."""
    wanted = program or os.environ.get("MST") or "mst"
    found = shutil.which(wanted)
    if found is None:
        raise FileNotFoundError(
            f"{wanted}: there is no such program; build it with `cargo install --path .`, or set MST to its path"
        )
    return found


def run(arguments: Sequence[str], program: str | None = None) -> Any:
    """Runs `mst` with arguments that end in JSON on stdout, and reads that. Progress goes to stderr; Ctrl-C ends the program."""
    child = None
    answer: list[bytes] = []
    said: list[bytes] = []
    try:
        child = _start([find(program), *arguments])
        readers = [
            threading.Thread(target=_read, args=(child.stdout, answer, None), daemon=True),
            threading.Thread(target=_read, args=(child.stderr, said, sys.stderr), daemon=True),
        ]
        for reader in readers:
            reader.start()
        # In short waits: a Ctrl-C that comes just before a long one is only heard at its end.
        while child.poll() is None:
            time.sleep(0.05)
        for reader in readers:
            reader.join()
    except BaseException:
        if child is not None:
            _end(child)
        raise
    exit_code = child.returncode
    if exit_code not in ANSWERED:
        raise MstError(exit_code, _last_words([line.decode(errors="replace") for line in said]))
    return json.loads(b"".join(answer))


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts the program. Ctrl-C meanwhile counts when there is something to end."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or before in (None, signal.SIG_IGN):
        return start()
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        child = start()
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        _end(child)
        raise KeyboardInterrupt
    return child


def _read(stream: IO[bytes], kept: list[bytes], shown: TextIO | None) -> None:
    """Keeps the lines of a stream, and shows them."""
    with stream:
        for line in stream:
            kept.append(line)
            if shown is not None:
                shown.write(line.decode(errors="replace"))
                shown.flush()


def _end(child: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would, so that the program keeps what it has; by force where that is not heard."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_words(said: list[str]) -> str:
    """From the last line that begins with `error`, else the last lines."""
    for at in range(len(said) - 1, -1, -1):
        if said[at].startswith("error"):
            return "".join(said[at:]).strip()
    return "".join(said[-5:]).strip()
