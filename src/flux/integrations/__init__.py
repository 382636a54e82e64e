"""Flux inside other people's frameworks. Each module is imported by its users alone: `flux` itself imports none."""
