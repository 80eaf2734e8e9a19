"""What the child may do: little, and not for long. Linux."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SECCOMP_MODE_FILTER = 2

_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF: linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_FOREIGN_ABI = 0x40000000
"""From here on x86-64 numbers the calls of its x32 variant, which the list does not know."""

_DENIED = {
    # open creat openat openat2 memfd_create, socket connect bind listen accept accept4 socketpair, execve execveat
    # fork vfork kill ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd, truncate rename mkdir rmdir
    # link unlink symlink chmod chown lchown mknod mount and their …at, io_uring_setup bpf perf_event_open
    # userfaultfd keyctl
    "x86_64": (
        0xC000003E, 56, 435,
        (2, 85, 257, 437, 319, 41, 42, 49, 50, 43, 288, 53, 59, 322, 57, 58, 62, 101, 310, 311, 434, 438, 76, 82, 83,
         84, 86, 87, 88, 90, 92, 94, 133, 165, 258, 259, 260, 263, 264, 265, 266, 268, 316, 452, 425, 321, 298, 323,
         250),
    ),
    "aarch64": (
        0xC00000B7, 220, 435,
        (56, 437, 279, 198, 203, 200, 201, 202, 242, 199, 221, 281, 129, 117, 270, 271, 434, 438, 45, 33, 34, 35, 36,
         37, 38, 276, 40, 53, 54, 452, 425, 280, 241, 282, 219),
    ),
}  # fmt: skip
"""By machine: the audit architecture, the numbers of clone and clone3, and of what is refused."""


def confine(parent: int, memory_bytes: int, file_bytes: int = 0) -> None:
    """Bound this process for good: address space, bytes of a file written, no core, death with its parent.

    Raises `OSError` or `ValueError` when the system refuses; the child then never reports that it is ready.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.getppid() != parent:
        raise SystemExit("The parent is gone.")
    limits = {resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_bytes}
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def allow_cpu(seconds: int) -> None:
    """Let this process use `seconds` more of processor time, from now; past that the kernel ends it (SIGXCPU)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def seal() -> None:
    """From here on this process opens no file, no socket and no other process: `PermissionError` (seccomp).

    What is open stays usable. Threads may be started: clone3, whose flags a filter cannot see, is said to be unknown,
    and the C library then asks for clone. On a machine whose system calls are not listed here the limits of `confine`
    stand alone. Raises `OSError` when the system refuses.
    """
    if (numbers := _DENIED.get(platform.machine())) is not None:
        program = _filter(*numbers)
        code = ctypes.create_string_buffer(program, len(program))
        described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
        _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(described, len(described)))


def _filter(architecture: int, clone: int, clone3: int, denied: tuple[int, ...]) -> bytes:
    """Each instruction: code, how many to leap over if true, if false, operand (struct sock_filter)."""
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _FOREIGN_ABI),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, clone3),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
    ]
    for number in denied:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | errno.EPERM)]
    steps += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_HAS_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _prctl(option: int, value: int, more: object = 0) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, more, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
