"""The `flux` command, one module a command group."""
