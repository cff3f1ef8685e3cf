"""The advisory snapshot, and the script that makes one."""
