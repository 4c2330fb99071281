// Takes webhooks as a usual app does, for `cargo xtask bench webhooks`: verify, keep once, compare, store, run the action,
// answer 200 after the commit, then call the platform. Says on which port and in which processes, as one line of JSON.
//
// Usage: node webhooks.mjs express|raw DATABASE PLATFORM_URL SECRET
//
// DATABASE is a file of SQLite, or the URL of a PostgreSQL database: then two processes share the port, because one would
// leave a core idle while it waits for the database. better-sqlite3 does not wait for anything else meanwhile.

import cluster from "node:cluster";
import { once } from "node:events";
import { raw } from "./webhooks/raw.mjs";
import { Work } from "./webhooks/work.mjs";

const [door, database, platformUrl, secret] = process.argv.slice(2);
const isPostgres = database.startsWith("postgres");
const processes = 2;

async function openStore(isFirst) {
  const { open } = await import(isPostgres ? "./webhooks/postgres.mjs" : "./webhooks/sqlite.mjs");
  return open(database, isFirst);
}

/** Takes webhooks in this process. Answers the port. */
async function serve(store) {
  const { listen } = door === "express" ? await import("./webhooks/express.mjs") : { listen: raw };
  const server = listen(new Work(store, platformUrl), secret);
  await once(server, "listening");
  return server.address().port;
}

function say(port, pids) {
  console.log(JSON.stringify({ port, pids }));
}

if (!isPostgres) {
  say(await serve(await openStore(true)), [process.pid]);
} else if (cluster.isPrimary) {
  const store = await openStore(true);
  await store.close();
  const workers = Array.from({ length: processes }, () => cluster.fork());
  cluster.on("exit", () => process.exit(1));
  const ports = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
  say(ports[0], [process.pid, ...workers.map((worker) => worker.process.pid)]);
} else {
  process.send(await serve(await openStore(false)));
}
