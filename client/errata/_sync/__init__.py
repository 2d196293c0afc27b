"""The blocking client. client.py and verdicts.py are generated from errata/_async: edit them there."""
