"""The 962 models that the authors published: quantiles over accuracy, and the CSV layout of their statistics."""
