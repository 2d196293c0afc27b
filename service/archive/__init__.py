"""The archive of finished analyses: a port, an implementation on files (local or in an object store), one in memory."""
