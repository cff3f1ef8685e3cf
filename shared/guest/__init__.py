"""What runs inside a VM: install, inventory, report. The same bytes on Google Cloud and locally.

Standard library only, Python 3.10 (the TPU VM images of Ubuntu 22.04) or later, imports nothing outside this package.
`bundle` alone runs on the stage's side: it packs the rest into the VM's metadata.
"""
