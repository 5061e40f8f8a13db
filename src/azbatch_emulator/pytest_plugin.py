"""pytest fixtures of the emulator (filled in with the launcher)."""
