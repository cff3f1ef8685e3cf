"""Findings to verdicts: a policy, its rules, and every answer with its reason. Pure, but for reading the file."""
