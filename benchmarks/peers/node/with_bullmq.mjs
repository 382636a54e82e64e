// BullMQ with ioredis.
import { Queue, Worker } from "bullmq";
import { CALLERS, REDIS, handle, main } from "./harness.mjs";

const { hostname: host, port } = new URL(REDIS);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const options = { removeOnComplete: true, removeOnFail: true };

let queue;

await main({
  async open() {
    queue = new Queue("bench", { connection });
    await queue.waitUntilReady();
  },
  insert: (jobs) => queue.addBulk(jobs.map((job) => ({ name: "noop", data: { job }, opts: options }))),
  insertOne: (job) => queue.add("noop", { job }, options),
  async left() {
    const { wait, active, prioritized } = await queue.getJobCounts("wait", "active", "prioritized");
    return wait + active + prioritized;
  },
  async work() {
    const worker = new Worker("bench", async (job) => handle(job.data.job), { connection, concurrency: 100 });
    worker.on("error", (error) => console.error(error));
    await new Promise(() => {});
  },
});
