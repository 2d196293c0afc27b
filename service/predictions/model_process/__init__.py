"""A predictor that runs models in a child process. If that process is killed, the worker continues."""
