"""The archive of finished analyses: a port, with implementations on files (local or remote) and in memory."""
