"""Free-text answers, which vision-language models give, and the classes that they name."""
