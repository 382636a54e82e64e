// The same for peers in JavaScript as python/harness.py, which says what each command does.
import { openSync, statSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

export const POSTGRES = process.env.BENCH_POSTGRES;
export const REDIS = process.env.BENCH_REDIS;
export const CALLERS = 32;
const BATCH = 1000;

const name = (number) => String(number).padStart(8, "0");
const now = () => process.hrtime.bigint();

let file = -1;

/** The handler of every peer: appends one line, the job's id and the time, and nothing else. */
export function handle(job) {
  if (file < 0) file = openSync(process.env.BENCH_LINES, "a");
  writeSync(file, `${job} ${String(now()).padStart(20, "0")}\n`);
}

async function singles(peer, total, callers) {
  const begun = now();
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let number = caller; number < total; number += callers) await peer.insertOne(name(number));
    }),
  );
  return Number(now() - begun) / 1e9;
}

/** Until the worker is there: it has run a job. */
async function firstLine() {
  for (let tries = 0; tries < 6000; tries++) {
    if (statSync(process.env.BENCH_LINES, { throwIfNoEntry: false })?.size) return;
    await sleep(10);
  }
  throw new Error("no worker ran the first job within a minute");
}

const commands = {
  async fill(peer, total) {
    const begun = now();
    for (let start = 0; start < total; start += BATCH) {
      const length = Math.min(BATCH, total - start);
      await peer.insert(Array.from({ length }, (_, index) => name(start + index)));
    }
    return Number(now() - begun) / 1e9;
  },

  async singles(peer, total, callers) {
    // Connections are opened by the first calls, which do not count.
    await singles(peer, 10 * callers, callers);
    return await singles(peer, total, callers);
  },

  async pace(peer, total) {
    const begun = [];
    for (let number = 0; number < total; number++) {
      await sleep(20 + 20 * Math.random());
      begun.push(Number(now()));
      await peer.insertOne(name(number));
      if (number === 0) await firstLine();
    }
    return begun;
  },

  async watch(peer) {
    await peer.left();
    console.log("ready");
    const input = createInterface({ input: process.stdin });
    await new Promise((resolve) => input.once("line", resolve));
    while (await peer.left()) await sleep(5);
    return Number(now());
  },
};

/** Do what the command line says. */
export async function main(peer) {
  const [command, ...numbers] = process.argv.slice(2);
  if (command === "work") return await peer.work();
  if (command === "prepare") {
    await peer.prepare?.();
    process.exit(0);
  }
  await peer.open();
  console.log(JSON.stringify(await commands[command](peer, ...numbers.map(Number))));
  process.exit(0);
}
