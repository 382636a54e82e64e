// graphile-worker with the settings of its page on performance.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";
import { CALLERS, POSTGRES, handle, main } from "./harness.mjs";

const logger = new Logger(() => (level, message) => {
  if (level === "error") console.error(message);
});

let pool;
let utils;

await main({
  async open() {
    pool = new pg.Pool({ connectionString: POSTGRES, max: CALLERS });
    utils = await makeWorkerUtils({ pgPool: pool, logger });
  },
  async prepare() {
    await this.open();
    await utils.migrate();
  },
  insert: (jobs) => utils.addJobs(jobs.map((job) => ({ identifier: "noop", payload: { job } }))),
  insertOne: (job) => utils.addJob("noop", { job }),
  async left() {
    // A finished job is deleted.
    const { rows } = await pool.query("SELECT count(*)::int AS left FROM graphile_worker._private_jobs");
    return rows[0].left;
  },
  async work() {
    const runner = await run({
      preset: {
        worker: {
          connectionString: POSTGRES,
          concurrentJobs: 24,
          maxPoolSize: 25,
          localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
          logger,
        },
      },
      taskList: { noop: ({ job }) => handle(job) },
    });
    await runner.promise;
  },
});
