"""Identity: tokens, and the instance metadata service through which clients get them."""
