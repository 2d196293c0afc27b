"""Evidence about images and classes. A build writes the evidence to a bundle, and the service reads the bundle."""
