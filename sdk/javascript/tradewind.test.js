import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";

// Outside of a component nobody offers `tradewind:plugin/log`: here it collects what is written.
const written = (globalThis.written = []);
const fakeLog = "data:text/javascript,export const write = (...entry) => globalThis.written.push(entry);";
register(
  `data:text/javascript,${encodeURIComponent(`export const resolve = (name, context, next) =>
    name.startsWith("tradewind:") ? { url: ${JSON.stringify(fakeLog)}, shortCircuit: true } : next(name, context);`)}`,
);
const { PluginError, definePlugin, log, parse, stringify } = await import("./tradewind.js");

const hostError = { code: "not-found", message: "no such record", details: undefined, retryable: false };
const plugin = definePlugin({
  describe: (registrar) => registrar.setOption("title", '"T"'),
  actions: {
    silent: {},
    echo: { describe: (action) => action.onModel("order", "create"), run: (call) => call, success: () => "ignored" },
    own: { run: () => { throw new PluginError("too-late", "it is too late", { details: { day: 3 }, retryable: true }); } },
    host: { success: () => { throw Object.assign(new Error(), { payload: hostError }); } },
    bug: { run: () => null.title },
    later: { run: async () => 1 },
  },
});

function thrownBy(call) {
  try {
    call();
  } catch (thrown) {
    return thrown;
  }
}

test("every action is declared, also one that says nothing of itself", () => {
  const seen = [];
  const declaration = { onModel: (...model) => seen.push(model) };
  plugin.describe({ setOption: (...option) => seen.push(option), action: (name) => (seen.push(name), declaration) });
  const names = ["own", "host", "bug", "later"];
  assert.deepEqual(seen, [["title", '"T"'], "silent", "echo", ["order", "create"], ...names]);
});

test("results become JSON", () => {
  assert.equal(plugin.run("echo", { tags: ["é"] }), '{"tags":["é"]}');
  assert.equal(plugin.run("silent"), "null");
  assert.equal(plugin.success("echo"), undefined);
  assert.equal(plugin.success("silent"), undefined);
});

test("errors become the contract's record", () => {
  const unknown = { message: "this plugin has no action `nope`", details: undefined, retryable: false };
  assert.deepEqual(thrownBy(() => plugin.run("nope")), { code: "unknown-action", ...unknown });
  assert.equal(thrownBy(() => plugin.success("toString")).code, "unknown-action");
  const own = { code: "too-late", message: "it is too late", details: '{"day":3}', retryable: true };
  assert.deepEqual(thrownBy(() => plugin.run("own")), own);
  assert.equal(thrownBy(() => plugin.success("host")), hostError);
});

test("other exceptions are reported with their stack", () => {
  const { code, message, details, retryable } = thrownBy(() => plugin.run("bug"));
  assert.deepEqual([code, retryable], ["exception", false]);
  assert.match(message, /^TypeError: .*null/);
  assert.match(parse(details).stack, /tradewind\.test\.js/);
  assert.match(thrownBy(() => plugin.run("later")).message, /cannot be `async`/);
});

test("absent JSON is undefined", () => {
  assert.equal(parse(undefined), undefined);
  assert.equal(parse(null), undefined);
  assert.equal(parse("null"), null);
});

test("integers of 64 bits stay exact", { skip: !JSON.rawJSON && "this Node.js is older than the engine of a component" }, () => {
  const text = '{"id":9007199254740993,"small":12,"price":1.5,"text":"9007199254740993"}';
  assert.deepEqual(parse(text), { id: 9007199254740993n, small: 12, price: 1.5, text: "9007199254740993" });
  assert.equal(stringify(parse(text)), text);
});

test("log entries carry their fields as JSON", () => {
  log.info("product tagged", { tags: 3 });
  log.warn("careful");
  assert.deepEqual(written, [["info", "product tagged", '{"tags":3}'], ["warn", "careful", "null"]]);
});
