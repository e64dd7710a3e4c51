"""Where a batch's rows come from and go to, beside files: today PostgreSQL."""
