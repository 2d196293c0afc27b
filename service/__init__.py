"""Errata: a service that classifies the errors of image classifiers."""
