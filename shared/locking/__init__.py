"""From what the outer VM claims and what the verdicts allow to a lock: exact files, each with its hash."""
