"""Answers in words, which vision-language models give, and the classes that they name."""
