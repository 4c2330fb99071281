// What is done with a webhook, whatever door it came through and whatever database keeps it.

import { createHash } from "node:crypto";
import { Agent, request } from "node:http";
import { keywords } from "../../../../plugins/product-tagger-js/keywords.js";

// What is a record of its own. A list that did not change costs one digest.
const lists = ["options", "variants", "images"];
const wanted = 5;
const addTags =
  "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { field message } } }";

export class Work {
  #store;
  #platformUrl;
  #agent = new Agent({ keepAlive: true, maxSockets: 32 });

  constructor(store, platformUrl) {
    this.#store = store;
    this.#platformUrl = platformUrl;
  }

  /** Stores what a verified webhook says. Answers what is to be done after the 200. */
  async take(delivery, body) {
    const product = JSON.parse(body);
    const tags = await this.#store.take(delivery, product.id, (stored) => compared(product, stored));
    return () => {
      if (tags.length > 0) this.#call(delivery.shop, { id: `gid://shopify/Product/${product.id}`, tags });
    };
  }

  #call(shop, variables) {
    const body = JSON.stringify({ query: addTags, variables });
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "x-shopify-access-token": "shpat_bench",
    };
    const url = `${this.#platformUrl}/admin/api/2026-07/graphql.json?${shop}`;
    const call = request(url, { method: "POST", agent: this.#agent, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => {
        if (JSON.parse(text).data.tagsAdd.userErrors.length > 0) throw new Error(text);
      });
    });
    call.end(body);
  }
}

/** What of a product is to be written, and the tags that its action finds. Nothing when it is not newer than `stored`. */
function compared(product, stored) {
  const fields = {};
  for (const [name, value] of Object.entries(product)) {
    if (!lists.includes(name)) fields[name] = value;
  }
  const known = stored ? JSON.parse(stored.doc) : {};
  if (stored && Date.parse(product.updated_at) <= Date.parse(known.updated_at)) return undefined;
  const digests = stored ? JSON.parse(stored.digests) : {};
  const children = [];
  for (const list of lists) {
    const digest = createHash("sha256").update(JSON.stringify(product[list])).digest("base64");
    if (digests[list] !== digest) children.push([list, product[list]]);
    digests[list] = digest;
  }
  const changed = Object.keys(fields).filter((name) => !same(fields[name], known[name]));
  const tags = changed.includes("body_html") ? keywords(product.body_html, wanted) : [];
  const doc = JSON.stringify({ ...known, ...fields });
  return { doc, digests: JSON.stringify(digests), children, tags };
}

function same(a, b) {
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}
