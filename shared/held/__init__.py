"""What the private repositories hold: joined with its records, judged again, evicted, collected."""
