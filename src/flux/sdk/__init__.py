"""The Python SDK: declare handlers, enqueue jobs, embed workers. Its public names are those of ``flux``."""
