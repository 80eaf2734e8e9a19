"""deploy/Dockerfile carried out without a container engine: stages are layers over this machine's own files.

Everything happens in a mount namespace of its own: what a RUN writes goes to memory, and is gone at the end. In place
of the base image stands this machine (Debian's files) with this Python in /usr/local: it holds more than `slim` does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Self

import psutil
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
UID = 10001
_BUILD_S = 900
_KEPT = ("PIP_", "http_", "https_", "HTTP_", "HTTPS_", "no_proxy", "NO_PROXY", "SSL_")
_MOUNT = """
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount --rbind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
chroot "$ROOT" ldconfig # as the base image does, so that /usr/local/lib is found
"""


@dataclass
class Stage:
    """A layer that grows: its own files, where all of it is seen, and what its instructions have set.

    `lists` are VOLUME, ENTRYPOINT, CMD and the command of HEALTHCHECK.
    """

    files: Path
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True)
class Workshop:
    """A mount namespace, held by a process that sleeps, with a file system in memory at `folder`."""

    holder: int
    folder: Path

    def enter(self, *command: str, network: int | None = None) -> list[str]:
        """What carries out `command` in here; `network` is a process whose network it has."""
        net = [] if network is None else [f"--net=/proc/{network}/ns/net"]
        return ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt", *net, "--", *command]

    def seen(self, path: Path) -> Path:
        """A path of in here, from outside."""
        return Path(f"/proc/{self.holder}/root{path}")


@contextmanager
def opened_workshop(folder: Path) -> Iterator[Workshop]:
    """Needs root: mounts and users of their own are what an image is about."""
    assert os.geteuid() == 0, "An image is built and run with mounts and users of its own, which needs root."
    folder.mkdir()
    script = 'mount -t tmpfs -o size=4g tmpfs "$1" && mkdir "$1/base" && echo ready && exec sleep infinity'
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", str(folder)]
    with _held(command) as pid:
        workshop = Workshop(pid, folder)
        _lay_base(workshop)
        yield workshop


@contextmanager
def own_network() -> Iterator[int]:
    """The id of a process in a network of its own, which has a loopback interface and nothing else."""
    up = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1))"
    script = f'"{sys.executable}" -c "{up}" && echo ready && exec sleep infinity'
    with _held(["unshare", "--net", "sh", "-c", script]) as pid:
        yield pid


@contextmanager
def _held(command: Sequence[str]) -> Iterator[int]:
    """The id of the process that a command becomes, once it has said something."""
    with subprocess.Popen(["setpriv", "--pdeathsig=KILL", *command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline(), f"{command[0]} did not start"
            yield process.pid
        finally:
            process.kill()


def _lay_base(workshop: Workshop) -> None:
    """This Python where the base image has it, without what was installed into it."""
    local, version = (
        workshop.seen(workshop.folder / "base/usr/local"),
        f"python{sys.version_info[0]}.{sys.version_info[1]}",
    )
    prefix = Path(sys.base_prefix)
    skipped = shutil.ignore_patterns("test", "__pycache__", "site-packages", "idlelib", "config-*")
    shutil.copytree(prefix / "lib" / version, local / "lib" / version, ignore=skipped, symlinks=True)
    (local / "lib" / version / "site-packages").mkdir()
    for library in prefix.glob("lib/libpython*"):
        shutil.copy2(library, local / "lib", follow_symlinks=False)
    (local / "bin").mkdir()
    shutil.copy2(prefix / "bin" / version, local / "bin" / version)
    for name in ("python", "python3"):
        (local / "bin" / name).symlink_to(version)
    base = workshop.seen(workshop.folder / "base")
    python = str(workshop.folder / "base/usr/local/bin/python")
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "PIP_ROOT_USER_ACTION": "ignore"}
    command = workshop.enter(python, "-m", "ensurepip", "--default-pip")
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert (base / "usr/local/bin/pip").exists()


class Build:
    """The instructions of a Dockerfile, one after the other."""

    def __init__(self, workshop: Workshop, dockerfile: Path, context: Path) -> None:
        parser = DockerfileParser(fileobj=BytesIO(dockerfile.read_bytes()))
        self._steps = [(step["instruction"], step["value"]) for step in parser.structure]
        self._workshop, self._context = workshop, context
        self._ignored = dockerfile.with_name(f"{dockerfile.name}.dockerignore").read_text().splitlines()
        self._stages: dict[str, Stage] = {}
        self._stage: Stage | None = None
        self.unknown: list[str] = []

    def run(self) -> Stage:
        """The last stage. Raises `RuntimeError` with what a command said when it fails."""
        acts = {"FROM": self._from, "ARG": self._arg, "ENV": self._env, "RUN": self._run, "COPY": self._copy}
        acts["WORKDIR"] = self._workdir
        for instruction, value in self._steps:
            if instruction in acts:
                acts[instruction](value)
            elif instruction not in {"COMMENT", "EXPOSE"}:
                self._describe(instruction, value)
        return self._now

    @property
    def _now(self) -> Stage:
        assert self._stage is not None
        return self._stage

    def _from(self, value: str) -> None:
        name = value.split(" AS ")[1] if " AS " in value else "final"
        top = self._workshop.folder / name
        stage = self._stages[name] = self._stage = Stage(top / "files", top / "root")
        stage.environment["PATH"] = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
        for each in ("files", "work", "root"):
            self._workshop.seen(top / each).mkdir(parents=True)
        overlay = {"UPPER": stage.files, "WORK": top / "work", "ROOT": stage.root}
        variables = {**{key: str(path) for key, path in overlay.items()}, "LOWER": f"{self._workshop.folder}/base:/"}
        command = self._workshop.enter(
            "env", *(f"{key}={text}" for key, text in variables.items()), "sh", "-ec", _MOUNT
        )
        subprocess.run(command, check=True)

    def _arg(self, value: str) -> None:
        name, _, default = value.partition("=")
        if self._stage is not None:
            self._stage.arguments[name] = default.strip('"')

    def _env(self, value: str) -> None:
        for name, text in _pairs(value):
            self._now.environment[name] = text

    def _run(self, value: str) -> None:
        kept = {name: text for name, text in os.environ.items() if name.startswith(_KEPT)}
        environment = {**kept, "HOME": "/root", **self._now.arguments, **self._now.environment}
        done = subprocess.run(
            self._workshop.enter(*_inside(self._now, environment, self._now.folder, "sh", "-ec", value)),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"RUN {value}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")

    def _copy(self, value: str) -> None:
        words = value.split()
        options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        base = self._workshop.seen(self._stages[options["from"]].root) if "from" in options else self._context
        for source in sources:
            if "from" not in options:
                assert f"!{source}" in self._ignored, f"{source} is not sent to the builder"
            self._copy_one(base / source.lstrip("/"), self._target(target, source), options.get("chmod"))

    def _copy_one(self, source: Path, target: Path, mode: str | None) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__") if source.is_relative_to(self._context) else None
            shutil.copytree(source, target, symlinks=True, ignore=ignored)
        else:
            shutil.copy2(source, target)
        if mode:
            target.chmod(int(mode, 8))

    def _target(self, target: str, source: str) -> Path:
        inside = Path(self._now.folder, target)
        named = inside / Path(source).name if target.endswith("/") else inside
        return self._workshop.seen(Path(f"{self._now.root}{named}"))

    def _describe(self, instruction: str, value: str) -> None:
        """What an image says of itself; only an engine acts upon it."""
        stage = self._now
        match instruction:
            case "LABEL":
                stage.labels |= {name: _filled(text, stage.arguments) for name, text in _pairs(value)}
            case "USER":
                stage.user = value
            case "STOPSIGNAL":
                stage.stop_signal = value
            case "VOLUME" | "ENTRYPOINT" | "CMD":
                stage.lists[instruction] = json.loads(value)
            case "HEALTHCHECK":
                stage.lists[instruction] = json.loads(value.partition("CMD ")[2])
            case _:
                self.unknown.append(instruction)

    def _workdir(self, value: str) -> None:
        self._now.folder = value
        self._workshop.seen(Path(f"{self._now.root}{value}")).mkdir(parents=True, exist_ok=True)


def _pairs(value: str) -> list[tuple[str, str]]:
    return [(name, quoted or plain) for name, quoted, plain in re.findall(r'([\w.]+)=(?:"([^"]*)"|(\S+))', value)]


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], text)


def _inside(stage: Stage, environment: Mapping[str, str], folder: str, *command: str) -> list[str]:
    named = [f"{name}={text}" for name, text in environment.items()]
    return ["chroot", str(stage.root), "env", "-i", f"--chdir={folder}", *named, *command]


@dataclass
class Container:
    """What a stage runs as: its user, nothing writable but its volumes and /tmp, in a process tree of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def first(self) -> psutil.Process:
        """The process that is number 1 in there."""
        return psutil.Process(self.process.pid).children()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, number: int, seconds: float) -> int:
        """Its exit status after a signal to its first process, as an engine sends it."""
        self.first.send_signal(number)
        return self.process.wait(seconds)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass(frozen=True)
class Engine:
    """Runs containers of a stage; `mounts` are folders and files of this machine by their place inside."""

    workshop: Workshop
    stage: Stage
    folder: Path
    network: int
    mounts: Mapping[str, Path]

    def prepare(self) -> None:
        """Make what is mounted upon; from here on nothing of the image can be written."""
        for there, here in self.mounts.items():
            point = self.workshop.seen(Path(f"{self.stage.root}{there}"))
            (point if here.is_dir() else point.parent).mkdir(parents=True, exist_ok=True)
            if not here.is_dir():
                point.touch()
        command = self.workshop.enter("mount", "-o", "remount,ro", str(self.stage.root))
        subprocess.run(command, check=True)

    def start(self, name: str, command: Sequence[str] = (), **environment: str) -> Container:
        """A container of the image's entry point, with the image's own command unless one is given."""
        words = [*self.stage.lists["ENTRYPOINT"], *(command or self.stage.lists["CMD"])]
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._command(words, environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        return Container(process, log)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command beside those that run, as health checks and `exec` are, to its end."""
        return subprocess.run(
            self._command(command, environment),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def _command(self, words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        uid, gid = self.stage.user.split(":")
        user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        user += ["--inh-caps=-all", "--bounding-set=-all"]
        # chroot first: who may do that is no longer the user
        inner = _inside(self.stage, {**self.stage.environment, **environment}, self.stage.folder, *user, *words)
        script = [f"ROOT={self.stage.root}", 'mount -t proc proc "$ROOT/proc"']
        script += ['mount -t tmpfs -o mode=1777,size=256m tmpfs "$ROOT/tmp"']
        script += [f'mount --bind "{here}" "$ROOT{there}"' for there, here in self.mounts.items()]
        apart = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        command = [*apart, "sh", "-ec", "; ".join([*script, 'exec "$@"']), "sh", *inner]
        return ["setpriv", "--pdeathsig=KILL", *self.workshop.enter(*command, network=self.network)]
