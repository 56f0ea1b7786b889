// Passkeys: a form with data-passkey asks the browser for one before it is sent (WebAuthn 3).
"use strict";

{
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const descriptors = (list) => (list || []).map((each) => ({ ...each, id: bytes(each.id) }));

  async function make(options) {
    const made = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        user: { ...options.user, id: bytes(options.user.id) },
        excludeCredentials: descriptors(options.excludeCredentials),
      },
    });
    const { clientDataJSON, attestationObject } = made.response;
    const response = { clientDataJSON: text(clientDataJSON), attestationObject: text(attestationObject) };
    return { id: made.id, rawId: text(made.rawId), type: made.type, response, clientExtensionResults: {} };
  }

  async function use(options) {
    const used = await navigator.credentials.get({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        allowCredentials: descriptors(options.allowCredentials),
      },
    });
    const { clientDataJSON, authenticatorData, signature, userHandle } = used.response;
    const response = {
      clientDataJSON: text(clientDataJSON),
      authenticatorData: text(authenticatorData),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : undefined,
    };
    return { id: used.id, rawId: text(used.rawId), type: used.type, response, clientExtensionResults: {} };
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", async (event) => {
      const field = form.elements.passkey_json;
      if (field.value) return;
      event.preventDefault();
      const told = form.querySelector("[data-passkey-error]");
      told.hidden = true;
      try {
        const options = JSON.parse(form.dataset.options);
        field.value = JSON.stringify(await (form.dataset.passkey === "create" ? make(options) : use(options)));
      } catch (error) {
        told.hidden = false;
        return;
      }
      form.submit();
    });
  }
}
