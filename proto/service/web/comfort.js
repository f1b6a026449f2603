// Comfort for pages that work without it: a form is sent once, and the summary of faults is where a reader begins.
"use strict";

for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    // A lost line brings no page: after a while it may be sent again. What is sent twice is done once.
    setTimeout(() => delete form.dataset.sent, 5000);
  });
}
// A page that comes back from the browser's memory may send its form again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
  }
});

document.querySelector(".faults")?.focus();

// Passkeys: the browser is asked for what the server asks, and answers it. The bytes travel in base64url.
const bytesOf = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const textOf = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function ask(path, said) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(said),
  });
  if (!response.ok) throw new Error(response.status);
  return response.status === 204 ? null : response.json();
}

async function makePasskey(form_token) {
  const { id, asked } = await ask("/passkeys/make", { form_token });
  const options = asked.publicKey;
  options.challenge = bytesOf(options.challenge);
  options.user.id = bytesOf(options.user.id);
  for (const known of options.excludeCredentials ?? []) known.id = bytesOf(known.id);
  const made = await navigator.credentials.create({ publicKey: options });
  const answer = {
    id: made.id,
    rawId: textOf(made.rawId),
    type: made.type,
    extensions: made.getClientExtensionResults(),
    response: {
      attestationObject: textOf(made.response.attestationObject),
      clientDataJSON: textOf(made.response.clientDataJSON),
      transports: made.response.getTransports?.() ?? [],
    },
  };
  await ask("/passkeys/made", { id, form_token, answer });
  location.reload();
}

async function enterByPasskey() {
  const { id, asked } = await ask("/passkeys/enter", {});
  const options = asked.publicKey;
  options.challenge = bytesOf(options.challenge);
  for (const known of options.allowCredentials ?? []) known.id = bytesOf(known.id);
  const found = await navigator.credentials.get({ publicKey: options });
  const answer = {
    id: found.id,
    rawId: textOf(found.rawId),
    type: found.type,
    extensions: found.getClientExtensionResults(),
    response: {
      authenticatorData: textOf(found.response.authenticatorData),
      clientDataJSON: textOf(found.response.clientDataJSON),
      signature: textOf(found.response.signature),
      userHandle: found.response.userHandle ? textOf(found.response.userHandle) : null,
    },
  };
  await ask("/passkeys/entered", { id, answer });
  location.assign("/");
}

for (const place of document.querySelectorAll("[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  const [sentence, button, fault] = [place.querySelector(".quiet"), place.querySelector("button"), place.querySelector(".fault")];
  sentence.hidden = true;
  button.hidden = false;
  button.addEventListener("click", async () => {
    fault.textContent = "";
    button.disabled = true;
    try {
      await (place.dataset.passkey === "make" ? makePasskey(place.dataset.token) : enterByPasskey());
    } catch {
      fault.textContent = place.dataset.failed;
    }
    button.disabled = false;
  });
}
