"""The 962 models that the authors published: quantiles of metrics by accuracy, and the CSV layout of statistics."""
