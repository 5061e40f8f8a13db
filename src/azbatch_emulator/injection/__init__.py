"""Faults of the HTTP surface, as data: which requests fail, how often and how."""
