"""Frozen, strictly validated values. What stands here does no I/O and knows no clock."""
