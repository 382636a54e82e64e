"""Callers' own connections, of any driver, in whose transactions jobs are enqueued."""
