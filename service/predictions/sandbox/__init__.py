"""Parsers of untrusted binary files in sandboxed processes.

A `ParserPool` keeps a few pre-started processes. Each is a small fork server: it forks a fresh process for every file,
so that nothing of one upload reaches the next one. The forked process has no network, writes no files, sees no
secrets, and has bounds on memory, CPU time and wall time.
"""

from service.predictions.sandbox.limits import ParserLimits
from service.predictions.sandbox.pool import ParserPool

__all__ = ["ParserLimits", "ParserPool"]
