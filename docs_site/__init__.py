"""Generators of the documentation's reference pages, which are made from the code when the site is built."""
