"""A seccomp filter for the process of an untrusted candidate, written out as the kernel's own small bytecode.

No library: the one that could write it (libseccomp) is not on every machine, and what is needed is a list. Everything
is allowed but what the list names. A call that libraries make to see what they may do answers EPERM, so that they go
on without it; one that no kernel has an honest reason for ends the process (SIGSYS), which the judge sees from outside.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_TSYNC = 1
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM, _ENOSYS = _ERRNO | 1, _ERRNO | 38
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_X32 = 0x3FFFFFFF  # numbers above are a second ABI of x86-64, which would be a way round
_NEWEST = 470  # numbers above are calls that this list cannot know

_CLONE_THREAD = 0x10000
_PRCTL_HARMLESS = (2, 3, 15, 16, 21, 39, 0x53564D41)  # names of threads and of memory, and questions

# Number on x86-64 and on 64-bit ARM (-1: does not exist there).
NUMBERS = {
    "fork": (57, -1), "vfork": (58, -1), "clone": (56, 220), "clone3": (435, 435), "execve": (59, 221),
    "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "process_mrelease": (448, 448), "socket": (41, 198),
    "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "move_mount": (429, 429), "open_tree": (428, 428),
    "mount_setattr": (442, 442), "setns": (308, 268), "unshare": (272, 97), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161),
    "setdomainname": (171, 162), "syslog": (103, 116), "quotactl": (179, 60), "iopl": (172, -1), "ioperm": (173, -1),
    "seccomp": (317, 277), "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "prctl": (157, 167), "setrlimit": (160, 164),
    "prlimit64": (302, 261), "setsid": (112, 157), "setpgid": (109, 154), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "sched_setparam": (142, 118),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "close": (3, 57), "dup2": (33, -1), "dup3": (292, 24), "close_range": (436, 436), "fcntl": (72, 25),
    "ioctl": (16, 29), "personality": (135, 92),
}  # fmt: skip

# Nothing that computes has a reason: reading or steering other processes, the machine's set-up, the way out of walls.
_DEADLY = (
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_getfd", "pidfd_send_signal", "ptrace", "process_vm_readv",
    "process_vm_writev", "process_madvise", "kcmp", "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig",
    "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr", "setns", "unshare", "bpf", "init_module",
    "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct",
    "settimeofday", "clock_settime", "sethostname", "setdomainname", "quotactl", "iopl", "ioperm", "open_by_handle_at",
)  # fmt: skip
# Libraries try these and live without them: pools that pin threads, probes for features, memory that is not counted.
_REFUSED = (
    "tkill", "pidfd_open", "process_mrelease", "connect", "bind", "listen", "accept", "accept4", "keyctl", "add_key",
    "request_key", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "adjtimex", "clock_adjtime", "syslog", "seccomp", "memfd_create", "memfd_secret", "shmget", "semget", "msgget",
    "mq_open", "setrlimit", "setsid", "setpgid", "sched_setaffinity", "sched_setscheduler", "sched_setattr",
    "sched_setparam", "setpriority", "ioprio_set", "fanotify_init", "personality",
)  # fmt: skip

_Code = list[tuple[int, int, int, int]]  # operation, jump if true, jump if false, operand


@dataclass(frozen=True)
class Filter:
    """What the list is made for: this process, the descriptor of its lifeline, and whether it ``shares`` memory."""

    process: int
    lifeline: int = -1
    shares: bool = False  # an oracle hands memory to the others; the judge counts it

    def bytecode(self, machine: str) -> bytes:
        """The program for ``machine`` ("x86_64" or "aarch64")."""
        column = list(_ARCH).index(machine)
        code: _Code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _ARCH[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
        if machine == "x86_64":
            code += [(_GREATER, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
        code += [(_GREATER, 0, 1, _NEWEST), (_RETURN, 0, 0, _ENOSYS)]
        for name, block in self._blocks().items():
            if NUMBERS[name][column] >= 0:
                code += [(_EQUAL, 0, len(block), NUMBERS[name][column]), *block]
        code.append((_RETURN, 0, 0, _ALLOW))
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)

    def _blocks(self) -> dict[str, _Code]:
        """What happens at each call of the list; every block ends by returning."""
        blocks: dict[str, _Code] = {name: [(_RETURN, 0, 0, _KILL)] for name in _DEADLY}
        blocks |= {name: [(_RETURN, 0, 0, _EPERM)] for name in _REFUSED}
        if self.shares:
            del blocks["memfd_create"]
        for name in ("kill", "tgkill"):  # abort() and raise() are its own affair
            blocks[name] = _only(0, (self.process,), _KILL)
        blocks["socket"] = [*_equals(0, 1, _EPERM), *_equals(0, 16, _EPERM), (_RETURN, 0, 0, _KILL)]
        blocks["prctl"] = _only(0, _PRCTL_HARMLESS, _EPERM)
        blocks["prlimit64"] = [  # asking is allowed, of itself: a null pointer where new limits would be
            (_LOAD, 0, 0, _argument(2)), (_EQUAL, 0, 5, 0), (_LOAD, 0, 0, _argument(2) + 4), (_EQUAL, 0, 3, 0),
            *_equals(0, 0, _ALLOW)[:1], (_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, self.process), (_RETURN, 0, 0, _EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]  # fmt: skip
        blocks["clone3"] = [(_RETURN, 0, 0, _ENOSYS)]  # its flags lie in memory; the C library then uses clone
        blocks |= _no_processes()
        if self.lifeline >= 0:
            for name in ("close", "fcntl", "ioctl"):
                blocks[name] = [*_equals(0, self.lifeline, _EPERM), (_RETURN, 0, 0, _ALLOW)]
            for name in ("dup2", "dup3"):
                blocks[name] = [*_equals(1, self.lifeline, _EPERM), (_RETURN, 0, 0, _ALLOW)]
            blocks["close_range"] = [(_RETURN, 0, 0, _ENOSYS)]
        return blocks

    def install(self) -> str:
        """Raise it round all threads of this process, for ever. Returns why not, "" when it stands."""
        machine = platform.machine()
        if machine not in _ARCH or struct.calcsize("P") != 8:
            return f"no filter is written for {machine}"
        program = self.bytecode(machine)
        buffer = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            return f"no_new_privs: {os.strerror(ctypes.get_errno())}"
        if libc.syscall(_SECCOMP[machine], 1, _TSYNC, header):
            return os.strerror(ctypes.get_errno())
        return ""


def _no_processes() -> dict[str, _Code]:
    """Threads are allowed. Refused, not deadly: libraries look for tools, and go on when they find none."""
    refuse = [(_RETURN, 0, 0, _EPERM)]
    clone = [(_LOAD, 0, 0, _argument(0)), (_ANY_BIT, 0, 1, _CLONE_THREAD), (_RETURN, 0, 0, _ALLOW), *refuse]
    return {"clone": clone, "fork": refuse, "vfork": refuse, "execve": refuse, "execveat": refuse}


def _argument(index: int) -> int:
    """Where the lower half of a call's argument lies."""
    return 16 + 8 * index


def _equals(index: int, value: int, action: int) -> _Code:
    """Return ``action`` when an argument has this value."""
    return [(_LOAD, 0, 0, _argument(index)), (_EQUAL, 0, 1, value), (_RETURN, 0, 0, action)]


def _only(index: int, values: tuple[int, ...], otherwise: int) -> _Code:
    """Allow these values of an argument alone."""
    code: _Code = [(_LOAD, 0, 0, _argument(index))]
    for value in values:
        code += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*code, (_RETURN, 0, 0, otherwise)]
