"""Finished analyses: a port, an archive in files (a folder or an object store), and a twin in memory."""
