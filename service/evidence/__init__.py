"""Facts about images and classes, gathered once into a content-addressed bundle that the service reads."""
