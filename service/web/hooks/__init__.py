"""Webhooks of model registries: received events and sent results, with one file for each registry."""
