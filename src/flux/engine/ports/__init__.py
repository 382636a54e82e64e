"""What the engine asks of the outside, in the verbs of the domain: one port a subject.

Every verb takes batches and is one transaction. A transition names the state it leaves, so "nothing happened" is an
ordinary answer and never an error. All times that decide are the store's clock. Verbs raise ``Unavailable`` when the
store cannot be used (nothing was half-done, except that the answer to a commit may be lost: every verb is safe to
repeat), and the errors named in their docstrings.
"""

from flux.engine.ports.broker import Broker, Hint, Offer
from flux.engine.ports.changes import Changes, Topic
from flux.engine.ports.clock import Clock
from flux.engine.ports.duties import DueOccurrence, Duties, OccurrencePlan, Promoted, Rescued, Retention
from flux.engine.ports.jobs import Change, Changed, Demand, Held, Here, Jobs, Note
from flux.engine.ports.lanes import Lane, Lanes, News
from flux.engine.ports.leases import Leases, Renewal, WorkerInfo
from flux.engine.ports.queries import Event, JobFilter, JobPage, Queries, RollupRow, RunningJob, WorkerView
from flux.engine.ports.queues import Queues, QueueSettings, QueueView
from flux.engine.ports.schedules import PARKED, Schedule, Schedules
from flux.engine.ports.store import Store, StoreHealth
from flux.engine.ports.transactions import Transaction, Transactions
from flux.engine.ports.workflows import (
    CreatedWorkflow,
    NewWorkflow,
    StepOutput,
    StepView,
    StoredDefinition,
    StoredEdge,
    StoredStep,
    Workflow,
    WorkflowChanged,
    WorkflowFilter,
    WorkflowPage,
    Workflows,
)

__all__ = [
    "PARKED",
    "Broker",
    "Change",
    "Changed",
    "Changes",
    "Clock",
    "CreatedWorkflow",
    "Demand",
    "DueOccurrence",
    "Duties",
    "Event",
    "Held",
    "Here",
    "Hint",
    "JobFilter",
    "JobPage",
    "Jobs",
    "Lane",
    "Lanes",
    "Leases",
    "NewWorkflow",
    "News",
    "Note",
    "OccurrencePlan",
    "Offer",
    "Promoted",
    "Queries",
    "QueueSettings",
    "QueueView",
    "Queues",
    "Renewal",
    "Rescued",
    "Retention",
    "RollupRow",
    "RunningJob",
    "Schedule",
    "Schedules",
    "StepOutput",
    "StepView",
    "Store",
    "StoreHealth",
    "StoredDefinition",
    "StoredEdge",
    "StoredStep",
    "Topic",
    "Transaction",
    "Transactions",
    "WorkerInfo",
    "WorkerView",
    "Workflow",
    "WorkflowChanged",
    "WorkflowFilter",
    "WorkflowPage",
    "Workflows",
]
