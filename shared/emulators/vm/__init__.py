"""A virtual machine's stand-in: a Debian root file system sealed in its own Linux namespaces.

`engine.Engine` boots, enters and deletes VMs; `image` builds their root; `inside` is the one program that runs on
the guest's side of the seal before the guest does. What a VM may reach is decided outside it, by `front` (HTTPS),
`metadata` and `dns`, over sockets that were opened in the guest's network namespace and handed out.
"""
