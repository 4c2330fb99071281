// Measures graphile-worker, the job queue that the store is compared with, in an empty database, and prints one line of
// JSON.
//
// Usage: node graphile.mjs throughput tuned|untuned URL JOBS
//        node graphile.mjs latency tuned|untuned URL SAMPLES

import { Logger, run, runMigrations } from "graphile-worker";
import pg from "pg";

const concurrentJobs = 24;

// What https://worker.graphile.org/docs/performance publishes its own figures for.
const tuned = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };

const [mode, form, connectionString, count] = process.argv.slice(2);
const forms = { tuned, untuned: {} };
const pgPool = new pg.Pool({ connectionString, max: concurrentJobs + 1 });
// graphile-worker insists on listeners. Whatever happens to a connection makes the measurement worthless.
pgPool.on("error", fail);
pgPool.on("connect", (client) => client.on("error", fail));

const options = {
  pgPool,
  noHandleSignals: true,
  parsedCronItems: [],
  // A line for each job would be what is measured.
  logger: new Logger(() => (level, message) => level === "error" && console.error(message)),
  preset: { worker: { concurrentJobs, ...forms[form] } },
};

const modes = {
  /** Jobs that are all there before: from the start of a runner until the last of them is gone. */
  async throughput(jobs) {
    // The first jobs find no compiled code and no connections.
    await addJobs(1000);
    await runAll(1000);
    await addJobs(jobs);
    await pgPool.query("vacuum analyze graphile_worker._private_jobs");
    const started = process.hrtime.bigint();
    const gone = await runAll(jobs);
    const seconds = Number(gone - started) / 1e9;
    return { jobs, seconds, jobsPerSecond: jobs / seconds };
  },

  /** One job at a time for an idle runner: from before it is added until it runs. */
  async latency(samples) {
    let running;
    const runner = await run(options, { nothing: () => running(process.hrtime.bigint()) });
    const latencies = [];
    for (let sample = -100; sample < samples; sample++) {
      const begins = new Promise((resolve) => (running = resolve));
      const added = process.hrtime.bigint();
      await addJobs(1);
      const latencyMs = Number((await begins) - added) / 1e6;
      // The runner is idle again then.
      await untilEmpty();
      // The first ones warm it up.
      if (sample >= 0) latencies.push(latencyMs);
    }
    await runner.stop();
    latencies.sort((a, b) => a - b);
    const quantile = (share) => latencies[Math.min(samples - 1, Math.floor(samples * share))];
    return { samples, p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1) };
  },
};

/**
 * Runs the jobs that are there and says when the last of them was gone.
 *
 * Not with `runOnce`, each of whose workers ends as soon as it once finds no job.
 */
async function runAll(jobs) {
  let done = 0;
  let allDone;
  const ran = new Promise((resolve) => (allDone = resolve));
  const runner = await run(options, { nothing: () => ++done === jobs && allDone() });
  await ran;
  await untilEmpty();
  const gone = process.hrtime.bigint();
  await runner.stop();
  return gone;
}

async function addJobs(jobs) {
  await pgPool.query(
    "select graphile_worker.add_job('nothing', json_build_object('id', i)) from generate_series(1, $1::int) i",
    [jobs],
  );
}

function fail(error) {
  throw error;
}

/** Waits for what the runner has sent off without waiting for it: that jobs are done. */
async function untilEmpty() {
  while ((await pgPool.query("select from graphile_worker._private_jobs limit 1")).rowCount > 0);
}

setTimeout(() => fail(new Error("not done in ten minutes")), 600_000).unref();
await runMigrations(options);
console.log(JSON.stringify(await modes[mode](Number(count))));
await pgPool.end();
