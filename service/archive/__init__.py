"""The archive of finished analyses: a port with implementations on files (local or in an object store) and in memory."""
