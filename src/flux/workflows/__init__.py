"""Workflows: what decides which steps come next. It uses the domain and the engine."""
