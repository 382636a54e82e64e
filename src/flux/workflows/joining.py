"""Workflows, joined to an engine."""

from __future__ import annotations

from flux.engine.engine import Engine
from flux.workflows.definitions import Definitions
from flux.workflows.ends import WorkflowEnds
from flux.workflows.resolving import StepResolver


def with_workflows(engine: Engine) -> Engine:
    """Let this engine's workers run steps and its scheduler end runs."""
    workflows = engine.store.workflows
    definitions = Definitions(workflows)
    engine.steps = StepResolver(workflows, definitions, engine.bounds)
    engine.ends = WorkflowEnds(workflows, definitions, engine.bounds)
    return engine
