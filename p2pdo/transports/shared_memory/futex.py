"""Waiting for a word in memory that processes share: Linux's futex.

A wait is for a *change*: it returns at once if the word is no longer what it was when the caller
looked, so a wake between the look and the wait is not lost. It may also return for no reason;
look again. ctypes lets go of the interpreter while the thread sleeps, and keeps it for a wake,
which does not: to take it again would cost as much as the call.
"""

from __future__ import annotations

import ctypes
import platform
import sys

_NUMBER = 202  # of the system call, on x86-64
_WAIT, _WAKE = 0, 1  # the forms that work between processes
_ALL = 0x7FFFFFFF
_WORD = (ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)


class _Seconds(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Futex:
    """The system call."""

    def __init__(self) -> None:
        """Only where `is_available`."""
        self._wait = ctypes.CDLL(None).syscall
        self._wait.argtypes = (*_WORD, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
        self._wake = ctypes.PyDLL(None).syscall
        self._wake.argtypes = _WORD
        for call in (self._wait, self._wake):
            call.restype = None

    def wait(self, address: int, seen: int, seconds: float) -> None:
        """Sleeps while the word at `address` is `seen`, until a wake, or for so long."""
        whole, rest = divmod(seconds, 1.0)
        limit = _Seconds(int(whole), int(rest * 1e9))
        self._wait(_NUMBER, address, _WAIT, seen, ctypes.addressof(limit), None, 0)

    def wake(self, address: int) -> None:
        """Wakes all who wait for the word at `address`, in whichever process."""
        self._wake(_NUMBER, address, _WAKE, _ALL)


def is_available() -> bool:
    """Linux on x86-64.

    There a store is seen by other cores after all stores before it, which plain writes to shared
    memory rely on. Elsewhere that takes barriers which Python cannot express.
    """
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 1 << 32
