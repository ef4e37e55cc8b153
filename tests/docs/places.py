"""A folder in which a document's commands are run as they stand: what they name is there, under that very name."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.docs.documents import ROOT, Command

SECONDS = 120
"""For one command, on a busy machine."""
MAKES_A_RUN = re.compile(r"legs4d (?:train|reconstruct|import-\w+) .*--out (\S+)")

SERVES = re.compile(r"legs4d (serve|view)\b")
ELSEWHERE = {"/srv/captures": "captures", "/var/lib/legs4d": "state"}
"""What the technician's page has in folders of the system → in the folder of the document."""

KEY = "3fKKJt=VKUijPdxGykopzXuJ6O+ZHSWldDaR3HYo"
"""A public key, as `legs4d keys new` prints one."""


class Failed(AssertionError):
    """A command of a document did not do what the document has it do."""


class Place:
    """One document's folder. Commands find the checkout's folders in it, and what `things` has, once they name it.

    A command that makes a run makes it afresh: documents show several ways to make one. A server that a document
    starts runs until `close`. JOB means the job that was printed last, KEY somebody's key.
    """

    def __init__(self, folder: Path, things: dict[str, Path]) -> None:
        self.folder, self.things = folder, things
        self.servers: list[subprocess.Popen[str]] = []
        self.job = ""
        folder.mkdir()
        for path in ROOT.iterdir():
            if path.name not in ("out", "dist", ".git"):
                (folder / path.name).symlink_to(path)
        for name in ELSEWHERE.values():
            (folder / name).mkdir()

    def run(self, command: Command) -> str:
        """Run a command to its end, or until it listens if it serves. Returns what it printed, Failed has it too."""
        text = command.text
        for there, here in ELSEWHERE.items():
            text = text.replace(there, str(self.folder / here))
        text = re.sub(r"\bJOB\b", self.job or "JOB", text)
        text = re.sub(r"\bKEY\b", KEY, text)
        self._lay(text)
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # to end what it started with it
        )
        if SERVES.search(text):
            self.servers.append(process)
            self._wait_until_it_listens(command, process)
            return ""
        try:
            printed, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self._kill(process)
            raise Failed(f"{command}\nwas not over after {SECONDS} s") from None
        if process.returncode:
            raise Failed(f"{command}\nended with {process.returncode}:\n{printed}")
        if jobs := re.findall(r"^(?:job )?([0-9a-f]{6,})$", printed, re.MULTILINE):
            self.job = jobs[-1]
        return printed

    def execute(self, text: str, where: str) -> None:
        """Run a block of Python. Raises whatever it raises."""
        self._lay(text)
        script = self.folder / "block.py"
        script.write_text(text)
        self.run(Command(ROOT / where.partition(":")[0], int(where.partition(":")[2]), ".venv/bin/python block.py"))

    def close(self) -> None:
        """End the servers."""
        for process in self.servers:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                self._kill(process)
            assert process.stdout is not None
            process.stdout.close()

    def _lay(self, text: str) -> None:
        if made := MAKES_A_RUN.search(text):
            shutil.rmtree(self.folder / made[1], ignore_errors=True)
        for name, source in self.things.items():
            laid = self.folder / name
            is_made = re.search(rf"(--out|dataset) {re.escape(name)}\b", text)
            if re.search(rf"(?<![\w-]){re.escape(name)}\b", text) and not laid.exists() and not is_made:
                shutil.copytree(source, laid)

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "LEGS4D_STATE_DIR": str(self.folder / "state"),
        }

    def _wait_until_it_listens(self, command: Command, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + SECONDS
        while not (self.folder / "state" / "server.json").exists():
            if process.poll() is not None:
                assert process.stdout is not None
                raise Failed(f"{command}\nended with {process.returncode}:\n{process.stdout.read()}")
            if time.monotonic() > deadline:
                raise Failed(f"{command}\ndid not listen after {SECONDS} s")
            time.sleep(0.05)

    @staticmethod
    def _kill(process: subprocess.Popen[str]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
