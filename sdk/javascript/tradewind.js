// What every JavaScript plugin needs around the contract in `wit/v1`: turning a table of actions into the three exports,
// errors, exact JSON, and logging. It wraps nothing else. A plugin calls the contract's resources as they are, in camel
// case (`record.toJson()`), so what a later host adds to them needs no change here.

import { write } from "tradewind:plugin/log@1.0.0";

/** An error of the plugin's own: throw it from `run` or `success`. `retryable` asks for another attempt later. */
export class PluginError extends Error {
  /**
   * @param {string} code lower-case words joined by `-`, for programs
   * @param {string} message one sentence, for people
   * @param {{ details?: unknown, retryable?: boolean }} [more] `details` is any value that JSON can carry
   */
  constructor(code, message, { details, retryable = false } = {}) {
    super(message);
    this.name = "PluginError";
    this.payload = { code, message, details: stringify(details), retryable };
  }
}

/**
 * The three exports of a plugin, to be written as `export const { describe, run, success } = definePlugin({ … })`.
 *
 * Each action may have
 * - `describe(declaration)`: says when the action runs and which parameters it takes;
 * - `run(call)`: before the change is stored; what it returns becomes the action's result;
 * - `success(call)`: after the change is stored.
 *
 * A thrown `PluginError`, and an error that a call into the host threw, become the error of the invocation. Such errors
 * carry `payload`: `{ code, message, details, retryable }`. Any other exception is reported with the code `exception`.
 *
 * @param {{ describe?: (registrar: object) => void, actions: Record<string, object> }} plugin `describe` declares what
 *   concerns the plugin as a whole
 */
export function definePlugin({ describe, actions }) {
  const find = (name) => {
    if (Object.hasOwn(actions, name)) return actions[name];
    throw new PluginError("unknown-action", `this plugin has no action \`${name}\``);
  };
  return {
    describe(registrar) {
      describe?.(registrar);
      for (const [name, action] of Object.entries(actions)) {
        const declaration = registrar.action(name);
        action.describe?.(declaration);
      }
    },
    run: (name, call) => stringify(outcome(() => find(name).run?.(call))) ?? "null",
    success: (name, call) => void outcome(() => find(name).success?.(call)),
  };
}

/** Runs one phase; what it throws is thrown on as the contract's `error` record. */
function outcome(phase) {
  try {
    const result = phase();
    if (typeof result?.then !== "function") return result;
    throw new TypeError("an action cannot be `async`: a call into the host returns when it is done");
  } catch (thrown) {
    if (thrown?.payload?.code) throw thrown.payload;
    throw {
      code: "exception",
      message: String(thrown),
      details: stringify({ stack: thrown?.stack }),
      retryable: false,
    };
  }
}

/**
 * The value of a JSON text; undefined for an absent one, so that `parse(call.param("limit")) ?? 5` reads well.
 *
 * An integer that a JavaScript number cannot hold comes as a `BigInt`: ids of 64 bits stay exact.
 */
export function parse(text) {
  if (text == null) return undefined;
  return /\d{16}/.test(text) ? JSON.parse(text, exactly) : JSON.parse(text);
}

function exactly(_key, value, { source }) {
  const isRounded = typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source);
  return isRounded ? BigInt(source) : value;
}

/** The JSON text of a value; undefined for undefined. A `BigInt` is written digit by digit. */
export function stringify(value) {
  return JSON.stringify(value, (_key, member) => (typeof member === "bigint" ? JSON.rawJSON(String(member)) : member));
}

/** `log.info("product tagged", { tags: 3 })`: the fields are optional. */
export const log = Object.fromEntries(
  ["trace", "debug", "info", "warn", "error"].map((level) => [
    level,
    (message, fields) => write(level, message, stringify(fields) ?? "null"),
  ]),
);

// `console.log` is what everybody tries first, and the engine brings no console.
const speak = (level) => (...values) => log[level](values.map(describeValue).join(" "));
globalThis.console ??= {
  debug: speak("debug"),
  log: speak("info"),
  info: speak("info"),
  warn: speak("warn"),
  error: speak("error"),
};

function describeValue(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack}`;
  return stringify(value) ?? String(value);
}
