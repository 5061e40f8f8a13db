"""Runs tasks as real processes in the directory layout of a Batch node."""
