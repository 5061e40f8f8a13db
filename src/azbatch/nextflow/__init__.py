"""Nextflow on Azure Batch: its three files written (pure), checked, and run with a pool of their own."""
