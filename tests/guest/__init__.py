"""What runs inside a VM, tried outside one."""
