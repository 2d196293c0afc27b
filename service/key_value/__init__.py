"""A key-value store with the commands of Redis, in Redis or in this process, and atomic steps that use it."""
