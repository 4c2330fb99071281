// The same door with nothing but what Node.js brings.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

export function raw(work, secret) {
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => taken(work, secret, request, response, Buffer.concat(chunks)));
  });
  return server.listen(0, "127.0.0.1");
}

async function taken(work, secret, request, response, body) {
  const { headers } = request;
  const signed = createHmac("sha256", secret).update(body).digest();
  const signature = Buffer.from(headers["x-shopify-hmac-sha256"] ?? "", "base64");
  if (signature.length !== signed.length || !timingSafeEqual(signature, signed)) {
    response.writeHead(401, { "content-length": 0 }).end();
    return;
  }
  const delivery = {
    shop: headers["x-shopify-shop-domain"],
    topic: headers["x-shopify-topic"],
    webhookId: headers["x-shopify-webhook-id"],
    eventId: headers["x-shopify-event-id"],
  };
  const after = await work.take(delivery, body.toString());
  response.writeHead(200, { "content-length": 0 }).end();
  after();
}
