"""Isolation of the calling process by the kernel: Landlock for files, seccomp for system calls.

Some kernels lack one of them. A service calls `missing_isolation` to warn when it starts.
"""

import errno
import fcntl
import os
import sys
from pathlib import Path

import landlockpy
import seccompy
from landlockpy import AccessFS, Scope
from seccompy import Action, ArgCmp, CmpOp, Filter

# System calls of a process that parses an open file. Any other call fails with EPERM.
SYSTEM_CALLS = (
    *("read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "lseek", "close", "ioctl"),
    *("fstat", "newfstatat", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat"),
    *("recvmsg", "sendmsg", "sendto"),  # on the only open socket
    *("getdents64", "dup", "dup2", "dup3", "ftruncate", "fadvise64", "getcwd"),
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "membarrier"),
    *("futex", "set_robust_list", "rseq", "exit", "exit_group", "sched_yield", "set_tid_address"),
    *("sched_getaffinity", "getcpu", "getpid", "gettid", "getrandom", "sysinfo", "uname", "getrusage", "times"),
    *("clock_gettime", "clock_getres", "gettimeofday", "clock_nanosleep", "nanosleep", "getrlimit"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "poll", "ppoll"),
    *("getuid", "geteuid", "getgid", "getegid"),
)
CLONE_THREAD = 0x10000
# F_SETOWN is not allowed: with it, the kernel could signal any process of the same user.
FCNTL_COMMANDS = (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_DUPFD_CLOEXEC)
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READ_ACCESS = AccessFS.READ_FILE | AccessFS.READ_DIR


def missing_isolation() -> tuple[str, ...]:
    """Return the names of the isolation mechanisms that this kernel lacks."""
    present = {"Landlock": landlockpy.supported(), "seccomp": seccompy.supported()}
    return tuple(name for name, is_present in present.items() if not is_present)


def restrict_files() -> None:
    """Forbid this process and its children to write files, use TCP, signal others, or read outside Python's folders."""
    if not landlockpy.supported():
        return
    with landlockpy.Ruleset(scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET) as ruleset:
        for path in _python_folders():
            ruleset.allow_path(path, READ_ACCESS)
        ruleset.restrict()


def system_call_filter() -> Filter | None:
    """Return the filter for a parsing process; None if the kernel has no seccomp. The caller must load the filter."""
    if not seccompy.supported():
        return None
    rules = Filter(default=Action.ERRNO | errno.EPERM)
    for name in SYSTEM_CALLS:
        _allow(rules, name)
    _allow(rules, "open", ArgCmp(1, CmpOp.MASKED_EQ, 0, WRITE_FLAGS))
    _allow(rules, "openat", ArgCmp(2, CmpOp.MASKED_EQ, 0, WRITE_FLAGS))
    _allow(rules, "clone", ArgCmp(0, CmpOp.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))  # threads, but no processes
    for command in FCNTL_COMMANDS:
        _allow(rules, "fcntl", ArgCmp(1, CmpOp.EQ, command))
    _allow(rules, "prlimit64", ArgCmp(0, CmpOp.EQ, 0))
    rules.errno("clone3", errno.ENOSYS)  # seccomp cannot read its flags in memory; glibc falls back to clone
    assert rules.program, "This is a bug: an empty filter restricts nothing."
    return rules


def _allow(rules: Filter, name: str, *conditions: ArgCmp) -> None:
    try:
        rules.allow(name, args=conditions or None)
    except ValueError:
        return  # this architecture has no such system call


def _python_folders() -> list[Path]:
    package = Path(__file__).resolve().parent
    candidates = [package, *map(Path, (sys.prefix, sys.base_prefix, "/lib", "/lib64", "/usr/lib"))]
    candidates += [Path(folder) for folder in sys.path if folder]
    excluded = (Path("/"), Path.cwd())  # `python -m` adds the working folder, which may contain secrets
    return [path for path in dict.fromkeys(candidates) if path.is_dir() and path not in excluded]
