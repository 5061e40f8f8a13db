"""A certificate authority of our own, for loopback."""
