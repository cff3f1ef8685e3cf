"""What starts: one folder per Cloud Run function, and the command line."""
