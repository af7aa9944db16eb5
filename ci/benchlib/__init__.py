"""What ci/bench is made of: tools (who is timed), cases (what they do), measure (how), cluster (the deploy side)."""
