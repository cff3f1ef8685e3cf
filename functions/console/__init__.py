"""The console: pages for people who run this, over the store, read-only."""
