"""Processes that tests start: commands that need no import of TensorFlow each, kills at an event, and free ports.

A kill after a time comes at another moment on a busy machine, and a short patience makes a test fail there.
"""

import multiprocessing
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BACKEND = os.environ.get("KERAS_BACKEND") or "tensorflow"  # of Keras, in this process and its forks
HANGS = 1200  # seconds after which a process or a wait is taken for stuck
PORTS = range(15_000, 32_000)  # below those that Linux gives to connections
QUICKLY = "backend_optimization_level=0", "llvm_disable_expensive_passes=true", "cpu_use_fusion_emitters=false"
ON_JAX = {  # variables of a process; what it compiles, it compiles quickly rather than well
    "KERAS_BACKEND": "jax",
    "CUDA_VISIBLE_DEVICES": "",
    "XLA_FLAGS": " ".join(f"--xla_{flag}" for flag in QUICKLY),
}
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.preloaded"])


class Started:
    """``python -m delg COMMAND --flag=value`` as a fork of a process that has imported what commands import.

    The fork has its own flags, working folder, environment and output, and runs to its exit code as that command does.
    What the start of a process decides, as the modules that are imported or the backend of Keras, needs
    :mod:`subprocess`, and each command is started by that in some test.

    Args:
      arguments: the command and its flags.
      cwd: working folder.
      killed: see :func:`killed_at`; None for a command that is left alone.
      module: the program, where that is another one than the commands.
      environment: variables besides those of this process.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: str | os.PathLike[str] | None = None,
        killed: str | None = None,
        module: str = "delg",
        **environment: str,
    ) -> None:
        variables = os.environ | environment
        if (variables.get("KERAS_BACKEND") or "tensorflow") != BACKEND:
            raise ValueError(f"Forks are of a process with {BACKEND} as the backend of Keras.")
        self._arguments, self._folder = arguments, tempfile.TemporaryDirectory()
        self._outputs = [str(Path(self._folder.name) / name) for name in ("stdout", "stderr")]
        given = module, arguments, str(cwd or Path.cwd()), dict(variables), self._outputs, killed
        self._process = FORKS.Process(target=_command, args=given)
        with chdir(ROOT):  # where the first one finds what it is to import
            self._process.start()

    def finished(self) -> subprocess.CompletedProcess[str]:
        """Waits for the end."""
        self._process.join(HANGS)
        code = self._process.exitcode
        self._process.kill()
        with self._folder:
            out, errors = (Path(path).read_text(encoding="utf-8") for path in self._outputs)
        assert code is not None, f"{self._arguments} hangs: {out[-2000:]} {errors[-2000:]}"
        return subprocess.CompletedProcess(self._arguments, code, out, errors)


def run(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m delg COMMAND --flag=value``; see :class:`Started`."""
    return Started(*arguments, **settings).finished()


def killed_at(text: str) -> None:
    """This process will end as by ``kill -9`` as it prints a line that starts so, or before it gives a file that name.

    Args:
      text: of the line, or the last part of a path that something is renamed to.
    """

    class Deadly:
        def write(self, line: str) -> int:
            written = stream.write(line)
            if line.startswith(text):
                stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

    def renamed(event: str, given: tuple[Any, ...]) -> None:
        if event == "os.rename" and Path(os.fsdecode(given[1])).name == text:
            os.kill(os.getpid(), signal.SIGKILL)

    stream, sys.stdout = sys.stdout, Deadly()
    sys.addaudithook(renamed)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at and that the system gives to nobody before they are used."""
    ports: list[int] = []
    while len(ports) < count:
        with socket.socket() as server:
            port = random.SystemRandom().choice(PORTS)
            if port not in ports and server.connect_ex(("127.0.0.1", port)):
                ports.append(port)
    return ports


def _command(
    module: str, arguments: Sequence[str], cwd: str, variables: dict[str, str], outputs: Sequence[str], killed: str
) -> None:
    """The process of :class:`Started`."""
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    if killed is not None:
        killed_at(killed)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
