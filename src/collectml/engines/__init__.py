"""Where a batch's rows come from and go to, and where its numbers are kept meanwhile: files, PostgreSQL, memory or disk."""
