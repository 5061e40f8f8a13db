"""Requests and answers written down, secrets removed, and sent again."""
