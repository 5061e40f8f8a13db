"""The head node: prepared by one script, and told where its workspace is."""
