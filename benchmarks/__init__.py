"""Figures that Errata claims: one file a figure, each measured beside what it is compared with, in the same run."""
