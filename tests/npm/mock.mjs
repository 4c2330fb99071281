// A server made of the platform's official schema, whose answers are made up: it refuses every operation that the schema
// does not have. Prints its port, and lives until its standard input ends.
//
// Usage: node mock.mjs SCHEMA_FILE

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { addMocksToSchema } from "@graphql-tools/mock";
import { makeExecutableSchema } from "@graphql-tools/schema";
import { graphql, isScalarType } from "graphql";

const bare = makeExecutableSchema({ typeDefs: readFileSync(process.argv[2], "utf8") });
const texts = { DateTime: "2026-05-01T10:00:00Z", Money: "19.90", Decimal: "19.90", UnsignedInt64: "9007199254740993" };
const scalars = Object.values(bare.getTypeMap()).filter((type) => isScalarType(type) && !["Int", "Float", "Boolean"].includes(type.name));
const mocks = Object.fromEntries(scalars.map((type) => [type.name, () => texts[type.name] ?? `a ${type.name}`]));
const schema = addMocksToSchema({
  schema: bare,
  mocks: { ...mocks, ID: () => "gid://shopify/ProductVariant/9007199254740993", Node: () => ({ __typename: "ProductVariant" }) },
});

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { query, variables } = JSON.parse(Buffer.concat(chunks).toString());
  const result = await graphql({ schema, source: query, variableValues: variables });
  // Nothing went wrong in what it made up: user errors are left out.
  for (const payload of Object.values(result.data ?? {})) if (payload?.userErrors) payload.userErrors = [];
  const throttleStatus = { maximumAvailable: 2000, currentlyAvailable: 1990, restoreRate: 100 };
  const extensions = { cost: { requestedQueryCost: 10, actualQueryCost: 10, throttleStatus } };
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ ...result, extensions }));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
