// Does the work of the plugin `product-tagger` in a fresh isolate, once for each line that names a way of doing it, and
// answers with the nanoseconds that it took and the keywords that it found.
//
// Usage: node --no-node-snapshot isolate.js KEYWORDS_JS BODY_FILE

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import ivm from "isolated-vm";

const [script, bodyFile] = process.argv.slice(2);
const body = readFileSync(bodyFile, "utf8");
// An isolate runs scripts, and the plugin's file is a module with one export.
const code = readFileSync(script, "utf8").replace(/^export /m, "");
const snapshot = ivm.Isolate.createSnapshot([{ code }]);

const memoryLimit = 128; // MiB, as for a plugin

/** Asks for the keywords in an isolate where the function already is. */
function ask(context) {
  return context.evalClosureSync("return JSON.stringify(keywords($0, 5))", [body]);
}

const ways = {
  /** A fresh isolate that compiles the code. */
  isolate() {
    const isolate = new ivm.Isolate({ memoryLimit });
    const context = isolate.createContextSync();
    context.evalSync(code);
    const found = ask(context);
    isolate.dispose();
    return found;
  },

  /** A fresh isolate from a snapshot in which the code is already compiled and run. */
  snapshot() {
    const isolate = new ivm.Isolate({ memoryLimit, snapshot });
    const found = ask(isolate.createContextSync());
    isolate.dispose();
    return found;
  },
};

for await (const way of createInterface({ input: process.stdin })) {
  const started = process.hrtime.bigint();
  const found = ways[way]();
  console.log(`${process.hrtime.bigint() - started} ${found}`);
}
