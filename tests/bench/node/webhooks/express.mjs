// The door as the platform's guides build it: Express, and the official library checks the signature and the headers.

import "@shopify/shopify-api/adapters/node";
import { ApiVersion, LogSeverity, shopifyApi } from "@shopify/shopify-api";
import express from "express";

export function listen(work, secret) {
  const shopify = shopifyApi({
    apiKey: "bench",
    apiSecretKey: secret,
    apiVersion: ApiVersion.July26,
    hostName: "localhost",
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error },
  });
  const app = express();
  const text = express.text({ type: "*/*", limit: "10mb" });
  app.post("/webhooks/bench/shopify", text, async (request, response) => {
    const checked = await shopify.webhooks.validate({
      rawBody: request.body,
      rawRequest: request,
      rawResponse: response,
    });
    if (!checked.valid) return response.status(401).end();
    const { domain: shop, topic, webhookId, eventId } = checked;
    const after = await work.take({ shop, topic, webhookId, eventId }, request.body);
    response.status(200).end();
    after();
  });
  return app.listen(0, "127.0.0.1");
}
