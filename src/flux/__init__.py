"""Flux: a distributed job queue that starts embedded on SQLite."""

__version__ = "0.1.0"
