"""The command in a real terminal and in a log file: bars that move, Ctrl-C, what is said then."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS, Dobby
from dobby_dagster_tests.helpers.records import put

pytestmark = pytest.mark.slow

# Says when Python has started: before that, Ctrl-C is Python's own affair.
STARTED = [
    sys.executable, "-c",
    "from dobby_dagster.cli import app; restore = app.restore_sigint; "
    "app.restore_sigint = lambda: (restore(), print('started', flush=True)); app.process()",
]  # fmt: skip
ENVIRONMENT = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}


def fill(count: int) -> None:
    Path("dobby.toml").write_text('[pipeline]\nbatch_size = 60\nchunk_size = 20\n[model]\ndevice = "cpu"\n')
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    body = "".join(f"    step_{i} = read(path, {i})\n" for i in range(12))
    put(store, {f"k{i:04d}": f"def load_{i}(path):\n{body}    return step_{i % 12} + {i}\n" for i in range(count)})
    store.close()


class Terminal:
    """A process whose standard streams are a pseudo-terminal."""

    def __init__(self, *arguments: str, program: Sequence[str] = PROCESS) -> None:
        ours, theirs = pty.openpty()
        self._ours = ours
        self.process = subprocess.Popen(
            [*program, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
        os.close(theirs)
        self.text = ""

    def read(self) -> Iterator[str]:
        """Everything that appears until the process ends, as it appears; ``text`` is all of it."""
        while True:
            if select.select([self._ours], [], [], 0.2)[0]:
                try:
                    part = os.read(self._ours, 65536).decode(errors="replace")
                except OSError:
                    part = ""
                if not part:
                    break
                self.text += part
                yield part
            elif self.process.poll() is not None:
                break
        self.process.wait(timeout=60)
        os.close(self._ours)

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_bar_moves_in_a_terminal_with_rate_and_time_left() -> None:
    fill(240)
    terminal = Terminal("summarize", "--show", "0")
    frames: list[tuple[float, str]] = []
    for part in terminal.read():
        frames += [(time.monotonic(), frame) for frame in plain(part).splitlines() if "Summarising" in frame]
    assert terminal.process.returncode == 0, terminal.text
    counts = [int(found[1]) for _, frame in frames if (found := re.search(r"(\d+)/240", frame))]
    assert counts == sorted(counts)
    assert counts[-1] == 240
    between = {count for count in counts if 0 < count < 240}
    assert len(between) >= 4
    assert any(count % 20 for count in between), f"it moves with the records, not with the commits: {counts}"
    assert any(re.search(r"[\d,]+/min", frame) for _, frame in frames)
    assert any(re.search(r"left \d+:\d\d:\d\d", frame) for _, frame in frames)
    # A frame a second and more: a bound that a stopped bar misses by far, and a busy machine does not.
    assert len(frames) > frames[-1][0] - frames[0][0]


def test_a_log_file_gets_plain_lines(dobby: Dobby) -> None:
    fill(60)
    with Path("run.log").open("w") as log:
        done = subprocess.run([*PROCESS, "summarize"], stdout=log, stderr=log, check=False, timeout=300)
    text = Path("run.log").read_text()
    assert done.returncode == 0, text
    assert re.search(r"Summarising: 60 of 60 \(100%\), [\d,]+/min", text)
    assert "\x1b" not in text
    assert "\r" not in text


@pytest.mark.parametrize("moment", ["at once", "while planning", "before the first commit", "after a commit"])
def test_ctrl_c_is_said_truly_and_ends_with_130(moment: str) -> None:
    fill(600)
    terminal = Terminal("summarize", program=STARTED)
    interrupted = False
    for _ in terminal.read():
        text = plain(terminal.text)
        done = max((int(found) for found in re.findall(r"(\d+)/600", text)), default=-1)
        now = {
            "at once": "started" in text, "while planning": "Polling the source" in text,
            "before the first commit": done == 0, "after a commit": done >= 60,
        }[moment]  # fmt: skip
        if now and not interrupted:
            interrupted = True
            terminal.interrupt()
    text = plain(terminal.text)
    assert interrupted
    assert terminal.process.returncode == 130, text
    assert "Traceback" not in text
    assert "Nothing to infer" not in text
    assert "Next, try" not in text
    assert "topped" in text
    if moment == "before the first commit":
        assert "Stopped: 0 of 600 done" in text
    if moment == "after a commit":
        [told] = re.findall(r"Stopped: (\d+) of 600 done", text)
        store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
        status = store.reports.status("record", store.recipes.latest())
        assert status["completed"] + status["failed"] == int(told) > 0
        assert status["in_progress"] == 0


@pytest.mark.parametrize("command", [["status"], ["export"], ["ingest", "."]])
def test_ctrl_c_of_any_command_is_130(command: list[str]) -> None:
    fill(1)
    for seconds in (0.0, 0.1, 0.2, 0.4, 0.8):  # while it imports what it needs, and a little later
        terminal = Terminal(*command, program=STARTED)
        for _ in terminal.read():
            if "started" in terminal.text:
                time.sleep(seconds)
                terminal.interrupt()
                break
        for _ in terminal.read():
            pass
        ended = "k0000" in terminal.text or "record" in terminal.text
        assert terminal.process.returncode == 130 or ended, (terminal.process.returncode, terminal.text)
        assert "Traceback" not in terminal.text


def test_a_model_server_that_refuses_is_no_success(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.ATTEMPTS", 2)
    fill(4)
    Path("dobby.toml").write_text('[model]\nurl = "http://127.0.0.1:9/v1"\nserved_name = "nope"\ntimeout_seconds = 1\n')
    answer = dobby("summarize")
    assert answer.code == 1
    assert "Failed: 0 of 4 done." in answer.out
    assert "Nothing to infer" not in answer.out
    assert "Next, try" not in answer.out
    assert answer.err.count("error: ") == 1
