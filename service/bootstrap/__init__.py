"""Composition root: the only package that instantiates concrete implementations of the ports."""
