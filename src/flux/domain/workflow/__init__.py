"""Workflows as pure values and rules: definition, expressions, graph, plan, and what the end of a step means."""
