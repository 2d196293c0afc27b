"""The classes: the required part of WordNet, superclasses, groups, and names."""
