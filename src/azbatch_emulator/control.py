"""The routes under `/_emulator/`: what a test may see and cause."""
