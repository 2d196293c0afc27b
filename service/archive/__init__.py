"""Finished analyses: a port with a folder behind it, and a twin in memory."""
