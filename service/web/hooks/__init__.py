"""Hooks: what registries send comes in here, and results go back. One file a registry."""
