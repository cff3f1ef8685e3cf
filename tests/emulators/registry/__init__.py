"""The Artifact Registry emulator, against the real clients that will meet it."""
