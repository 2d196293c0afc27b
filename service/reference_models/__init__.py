"""The 962 models that the authors published: how they spread over accuracy, and their CSV layout."""
