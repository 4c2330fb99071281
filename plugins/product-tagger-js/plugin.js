// Tags a product with the words that its description uses most.

import { PluginError, definePlugin, log, parse, stringify } from "tradewind";
import { Client } from "tradewind:plugin/shopify@1.0.0";
import { keywords } from "./keywords.js";

const ADD_TAGS =
  "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { field message } } }";

const tagProduct = {
  // Once, when the plugin is installed: when should this action run, and which parameters does it take?
  describe(action) {
    action.onModel("shopify/product", "create");
    action.onModel("shopify/product", "update");
    action.whenChanged(["body"]);
    const isRequired = false;
    action.param("limit", stringify({ type: "integer", minimum: 1, maximum: 20, default: 5 }), isRequired);
  },

  // Before the change is stored: choose the tags. What this returns is handed to `success`.
  run(call) {
    const record = call.record();
    if (!record) throw new PluginError("record-required", "`tag-product` runs on a record");
    if (!record.changed("body", "loaded")) return { keywords: [] };
    const limit = parse(call.param("limit")) ?? 5;
    return { keywords: keywords(parse(record.get("body")), limit) };
  },

  // After the change is stored: tell Shopify. Adding a tag twice does no harm, so neither does running twice.
  success(call) {
    const { keywords: tags } = parse(call.runResult());
    if (tags.length === 0) return;
    const shopify = Client.current();
    if (!shopify) throw new PluginError("shop-required", "there is no current Shopify shop");
    const id = `gid://shopify/Product/${call.record().id()}`;
    shopify.graphql(ADD_TAGS, stringify({ id, tags }), "null");
    log.info("product tagged", { tags: tags.length });
  },
};

export const { describe, run, success } = definePlugin({
  describe(registrar) {
    registrar.setOption("title", stringify("Product tagger"));
    registrar.ask("shopify", stringify({ scopes: ["write_products"] }));
  },
  actions: { "tag-product": tagProduct },
});
