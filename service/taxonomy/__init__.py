"""What kind of thing each class is: WordNet's part that Errata needs, superclasses, groups, names."""
