"""What nodes may reach: openings in the Batch network's security group, kept as its rules. Closed by default."""
