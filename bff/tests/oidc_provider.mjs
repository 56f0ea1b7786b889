// A real OpenID Connect provider: node oidc_provider.mjs PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI
// Whoever types a login is signed in under it: the subject is the login, the address is LOGIN@acme.example,
// and a login that starts with "new" has an address that isn't verified.
import Provider from "oidc-provider";

const [port, clientId, clientSecret, redirectUri] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  pkce: { required: () => true },
  cookies: { keys: ["only for tests"] },
  ttl: { Session: 600, Interaction: 600, Grant: 600, AccessToken: 600, IdToken: 600 },
  async findAccount(_, login) {
    const claims = { sub: login, email: `${login}@acme.example`, email_verified: !login.startsWith("new"), name: `Dr. ${login}` };
    return { accountId: login, claims: async () => claims };
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
