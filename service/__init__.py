"""Errata: what kind of mistakes an image classifier makes, not just how many."""
