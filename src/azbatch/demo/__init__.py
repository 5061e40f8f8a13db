"""The demonstration: variants planted in reads, found again by a Snakemake workflow on Azure Batch."""
