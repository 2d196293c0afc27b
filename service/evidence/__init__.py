"""Evidence about images and classes. A build writes it to a bundle, which its digest names and the service reads."""
