"""What carries hints. A hint says that a job may be runnable; the store decides."""
