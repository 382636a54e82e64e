"""One file a page: what it reads, and what can be done from it."""
