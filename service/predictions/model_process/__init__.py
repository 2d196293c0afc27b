"""A predictor that runs models in a child process. The worker survives if that process is killed."""
