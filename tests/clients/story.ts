// The story of a consumer by the client that openapi-typescript's types and openapi-fetch make of the document.
// Types are checked in strict mode. It reads what it needs from the environment, and prints what it has seen as JSON.
import createClient from "openapi-fetch";

import type { components, paths } from "./schema";

type Needed = "API_URL" | "GATEWAY_URL" | "CONSUMER_TOKEN" | "ADMIN_TOKEN" | "SERVICE_ID";
const { API_URL, GATEWAY_URL, CONSUMER_TOKEN, ADMIN_TOKEN, SERVICE_ID } = process.env as Record<Needed, string>;
const bearer = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } });

type Problem = components["schemas"]["Problem"];

function given<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(answer.error?.code ?? "no answer");
  return answer.data;
}

const anybody = createClient<paths>({ baseUrl: API_URL });
const consumer = createClient<paths>({ baseUrl: API_URL, ...bearer(CONSUMER_TOKEN) });
const admin = createClient<paths>({ baseUrl: API_URL, ...bearer(ADMIN_TOKEN) });

const { services } = given(await anybody.GET("/api/v1/marketplace/services", { params: { query: { pageSize: 100 } } }));
const service = services.find((each) => each.serviceId === SERVICE_ID);

const asked = given(
  await consumer.POST("/api/v1/access-requests", {
    params: { header: { "Idempotency-Key": "asked-once" } },
    body: { serviceId: SERVICE_ID, note: "For the story." },
  }),
);
const params = { path: { accessRequestId: asked.accessRequestId } };
const granted = given(
  await admin.POST("/api/v1/access-requests/{accessRequestId}:approve", { params, body: { reason: "Fine." } }),
);

const made = await consumer.POST("/api/v1/keys", {
  body: { name: "story", serviceIds: [SERVICE_ID], ttlDays: 7 },
});
const { key, secret } = given(made);
if (key === undefined) throw new Error("no key");

const calling = createClient<paths>({ baseUrl: API_URL, headers: { "X-API-Key": secret } });
const called = await calling.POST("/api/consume", {
  baseUrl: GATEWAY_URL,
  params: { header: { "X-AMS-Service": SERVICE_ID } },
  body: { where: "here" },
});

const path = { keyId: key.keyId };
const seen = { path, header: { "If-Match": `"${key.etag}"` } };
const body = { name: "story, told" };
const renamed = given(await consumer.PATCH("/api/v1/keys/{keyId}", { params: seen, body }));
const late = await consumer.PATCH("/api/v1/keys/{keyId}", { params: seen, body });
const revoked = given(await consumer.POST("/api/v1/keys/{keyId}:revoke", { params: { path }, body: {} }));
const missing = await consumer.GET("/api/v1/keys/{keyId}", { params: { path: { keyId: SERVICE_ID } } });

console.log(
  JSON.stringify({
    service: service?.name,
    asked: asked.status,
    granted: granted.status,
    location: made.response.headers.get("location") === `/api/v1/keys/${key.keyId}`,
    called: called.response.status,
    renamed: renamed.name,
    late: late.error?.code,
    revoked: revoked.status,
    missing: missing.error?.code,
  }),
);
