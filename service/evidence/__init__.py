"""Evidence about images and classes, built once into a content-addressed bundle that the service reads."""
