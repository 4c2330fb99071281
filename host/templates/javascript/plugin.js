// What this plugin does, in a sentence: gives a product a handle made of its title, whenever the title changes.

import { definePlugin, log, parse, stringify } from "tradewind";

const setHandle = {
  // Which records it runs on, and when.
  describe(action) {
    action.onModel("shopify/product", "create");
    action.onModel("shopify/product", "update");
    action.whenChanged(["title"]);
  },

  // Before the change is committed: what is set here is stored with it, or nothing is.
  run(call) {
    const product = call.record();
    if (product.changed("title", "loaded")) {
      const title = parse(product.get("title"));
      product.set("handle", stringify(handle(title)));
    }
    return null;
  },

  // After the commit: calls that write to Shopify go here.
  success(call) {
    log.info("handle set", { product: call.record().id() });
  },
};

// `Straw Hat, large` becomes `straw-hat-large`.
function handle(title) {
  return title.toLowerCase().split(/[^a-z0-9]+/).filter(Boolean).join("-");
}

export const { describe, run, success } = definePlugin({ actions: { "plugin-name": setHandle } });
