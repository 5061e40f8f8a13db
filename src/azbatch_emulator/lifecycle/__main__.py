"""Prints docs/lifecycles.md."""

import sys

from azbatch_emulator.lifecycle import page

sys.stdout.write(page())
