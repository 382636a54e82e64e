// pg-boss with LISTEN/NOTIFY and bursts.
import { PgBoss } from "pg-boss";
import { CALLERS, POSTGRES, handle, main } from "./harness.mjs";

let boss;

async function start(options) {
  boss = new PgBoss({ connectionString: POSTGRES, ...options });
  boss.on("error", (error) => console.error(error));
  await boss.start();
}

await main({
  open: () => start({ max: CALLERS, supervise: false, schedule: false }),
  async prepare() {
    await start({});
    await boss.createQueue("bench", { notify: true });
  },
  insert: (jobs) => boss.insert("bench", jobs.map((job) => ({ data: { job } }))),
  insertOne: (job) => boss.send("bench", { job }),
  async left() {
    const { rows } = await boss
      .getDb()
      .executeSql("SELECT count(*)::int AS left FROM pgboss.job WHERE state < 'completed'");
    return rows[0].left;
  },
  async work() {
    await start({ max: 10, useListenNotify: true });
    const options = { batchSize: 1000, burstWhenBatchFull: true, localConcurrency: 2, pollingIntervalSeconds: 0.5 };
    await boss.work("bench", options, async (jobs) => {
      for (const job of jobs) handle(job.data.job);
    });
    await new Promise(() => {});
  },
});
