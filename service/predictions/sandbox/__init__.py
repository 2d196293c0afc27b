"""Parsers of untrusted binary files in sandboxed processes.

A `ParserPool` runs a few fork servers. Each server forks a new process for every file, so that no data of one upload
reaches the next. The forked process has no network, writes no files, sees no secrets, and has limits on memory, CPU
time, and wall time.
"""

from service.predictions.sandbox.pool import ParserPool

__all__ = ["ParserPool"]
