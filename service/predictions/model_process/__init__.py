"""A predictor that runs models in a child process, which can be killed without losing the worker."""
