"""The classes of ImageNet-1k: names, groups, superclasses, and the part of WordNet around them."""
