// The platform's own client talks to the emulator, and prints what it saw as one line of JSON.
//
// Usage: node client.mjs ORIGIN SHOP_DOMAIN ACCESS_TOKEN API_VERSION PRODUCT_ID

import { createAdminApiClient, createAdminRestApiClient } from "@shopify/admin-api-client";

const [origin, storeDomain, accessToken, apiVersion, productId] = process.argv.slice(2);

/** The client insists on `https://{shop}`; the emulator has the shop in the path. */
const customFetchApi = (url, init) => fetch(String(url).replace(`https://${storeDomain}`, `${origin}/${storeDomain}`), init);

const graphql = createAdminApiClient({ storeDomain, apiVersion, accessToken, customFetchApi, retries: 3 });
const rest = createAdminRestApiClient({ storeDomain, apiVersion, accessToken, customFetchApi, retries: 3, scheme: "https" });
const id = `gid://shopify/Product/${productId}`;

const read = await graphql.request(
  `query Read($id: ID!) { product(id: $id) { id legacyResourceId title tags variants(first: 2) { nodes { id price } } } }`,
  { variables: { id } },
);
const tagged = await graphql.request(
  `mutation Tag($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { node { id } userErrors { field message } } }`,
  { variables: { id, tags: ["by-npm"] } },
);
const updated = await graphql.request(
  `mutation Update($product: ProductUpdateInput!) { productUpdate(product: $product) { product { title tags } userErrors { field message } } }`,
  { variables: { product: { id, title: "Named by npm" } } },
);
const refused = await graphql.request(
  `mutation Update($product: ProductUpdateInput!) { productUpdate(product: $product) { product { title } userErrors { field message } } }`,
  { variables: { product: { id: "gid://shopify/Product/1", title: "Nobody" } } },
);
const invalid = await graphql.request(`{ product(id: "${id}") { nothing } }`);
const listed = await rest.get("products", { searchParams: { limit: 2 } });

console.log(
  JSON.stringify({
    read,
    tagged,
    updated,
    userErrors: refused.data?.productUpdate?.userErrors,
    invalid: invalid.errors?.graphQLErrors?.map((error) => error.message),
    rest: { status: listed.status, count: (await listed.json()).products.length, link: listed.headers.get("link") },
    limit: listed.headers.get("x-shopify-shop-api-call-limit"),
  }),
);
