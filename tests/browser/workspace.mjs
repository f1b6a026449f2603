// Each role's day in the workspaces of a running demo network, in a real browser. Called by tests/run with demo.json and the kith-node
// program; ends with status 1 and says what was wrong. KITH_SHOTS=FOLDER keeps a picture of every page that is looked at.
// Never opens anything but the demo's own loopback addresses.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [demoFile, kithNode] = process.argv.slice(2);
const demo = JSON.parse(readFileSync(demoFile, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const LANGUAGES = ["en", "ar", "fa-AF", "uk", "ti"];
const PAGES_MAX = 6;
const TYPING_SECONDS_MAX = 90;
const LETTERS_A_MINUTE = 40 * 5;
const FIRST_PAGE_BYTES_MAX = 60 * 1024;
const shots = process.env.KITH_SHOTS;
const GP = "riverside-gp";
const PEERS = "tigrinya-womens-circle";
const NEED = "Company on Tuesdays, with her children";

function must(what, isSo) {
  if (!isSo) throw new Error(what);
}

const nodeOf = (org) => demo.nodes.find((node) => node.org === org);

// A link that signs one browser in, as an admin makes it.
function link(org, name, roles) {
  const { data_dir } = nodeOf(org);
  const args = ["colleague", "add", "--name", name, "--role", roles, "--data", data_dir];
  return execFileSync(kithNode, args, { encoding: "utf8" }).split("\n")[0];
}

// Somebody in front of a screen.
class Visitor {
  static async open(browser, { width = 360, script = true, locale = "en-GB" } = {}) {
    const context = await browser.newContext({ viewport: { width, height: 740 }, javaScriptEnabled: script, locale });
    const visitor = new Visitor();
    Object.assign(visitor, { context, width, script, page: await context.newPage(), typed: 0, pages: 0 });
    // A page whose policy refuses a part of itself says so here.
    visitor.page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) visitor.refused = message.text();
    });
    return visitor;
  }

  async signIn(org, name, roles) {
    await this.page.goto(link(org, name, roles));
    await this.press("main button");
    must(`${name} is signed in`, (await this.text("header")).includes(name));
  }

  text(where = "main") {
    return this.page.locator(where).innerText().then((text) => text.replace(/[\u2068\u2069]/g, ""));
  }

  async says(part, where = "main") {
    const text = await this.text(where);
    must(`"${part}" is said on ${this.page.url()}, which says:\n${text}`, text.includes(part));
  }

  async type(field, text) {
    this.typed += text.length;
    await this.page.fill(field, text);
  }

  async choose(name, value) {
    await this.page.locator(`input[name="${name}"][value="${value}"]`).check();
  }

  async press(what) {
    await Promise.all([this.page.waitForLoadState("load"), this.page.locator(what).first().click()]);
  }

  // Looks at the page as it is: nothing to scroll sideways for, nothing that a screen reader cannot use, nothing refused by its policy.
  async look(name) {
    this.pages += 1;
    const language = await this.page.locator("html").getAttribute("lang");
    if (shots) {
      mkdirSync(shots, { recursive: true });
      await this.page.screenshot({ path: `${shots}/${language}-${name}-${this.width}.png`, fullPage: true });
    }
    must(`the policy of ${name} refuses nothing of it: ${this.refused}`, !this.refused);
    if (!this.script) return;
    const wide = await this.page.evaluate(() => document.documentElement.scrollWidth);
    must(`${name} (${language}) is ${wide} wide`, wide <= this.width);
    await this.page.evaluate(axe);
    const found = await this.page.evaluate((rules) => axe.run({ runOnly: rules }), RULES);
    const faults = found.violations.map((one) => `${one.id}: ${one.help}\n  ${one.nodes.map((node) => node.html).join("\n  ")}`);
    must(`${name} (${language}) can be used by everybody:\n${faults.join("\n")}`, faults.length === 0);
  }
}

// A GP refers, with the person in the room.
async function gpRefers(browser) {
  const gp = await Visitor.open(browser, { width: 320 });
  await gp.signIn(GP, "Dr Amal", "referrer");
  gp.pages = 0;
  await gp.press('nav a[href="/refer"]');
  await gp.look("refer-who");
  await gp.type("#preferred_name", "Selam");
  await gp.type("#languages", "ti");
  await gp.page.locator('form[action="/refer"] button').last().click();
  await gp.look("refer-need");
  await gp.type("#need", NEED);
  await gp.choose("purpose", "peer_support");
  await gp.press("main form button");
  await gp.look("refer-service");
  await gp.says("Speaks ti.");
  await gp.choose("recipient", PEERS);
  await gp.press("main form button");
  await gp.look("refer-aloud");
  await gp.press("main a.button");
  await gp.look("refer-consent");
  const answers = { given_by: "person", given_how: "in_person", language: "ti", interpreter: "professional", progress: "yes" };
  for (const [name, value] of Object.entries(answers)) await gp.choose(name, value);
  await gp.type("#understood", "They may know my name and that I want company. I can stop it.");
  await gp.press("main form button");
  await gp.look("refer-check");
  // The battery is empty: what was answered is there on another screen.
  const at = gp.page.url();
  await gp.page.goto("about:blank");
  await gp.page.goto(at);
  await gp.says(NEED);
  must(`${gp.pages} pages are at most ${PAGES_MAX}`, gp.pages <= PAGES_MAX);
  const seconds = (gp.typed / LETTERS_A_MINUTE) * 60;
  must(`typing takes ${seconds} s`, seconds <= TYPING_SECONDS_MAX);
  await gp.press("main form button");
  await gp.look("refer-sent");
  const code = (await gp.page.locator("main strong.code").innerText()).trim();
  must(`${code} is a code`, /^[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9]{2}$/.test(code));
  console.log(`  a GP referred in ${gp.pages - 1} pages and ${Math.round(seconds)} s of typing: ${code}`);
  return { gp, code };
}

// Waits until a list has a code, in a state: it comes over the network.
async function arrives(visitor, org, code, turn, state = "") {
  for (let times = 0; times < 100; times += 1) {
    await visitor.page.goto(`${nodeOf(org).web}/referrals?turn=${turn}`);
    const text = await visitor.text();
    if (text.includes(code) && text.includes(state)) return;
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error(`${code} is not on the list of ${org}, ${state}`);
}

async function opens(visitor, code) {
  await visitor.page.locator(".list a", { hasText: code }).click();
}

// A volunteer answers on an old telephone, without JavaScript.
async function volunteerAnswers(browser, { gp, code }) {
  const peers = await Visitor.open(browser, { script: false });
  await peers.signIn(PEERS, "Letesh", "coordinator,admin");
  await arrives(peers, PEERS, code, "yours");
  await peers.look("work-without-script");
  await opens(peers, code);
  await peers.says(NEED);
  await peers.says("Not provided. Reply to Riverside GP practice instead of contacting the person.");
  await peers.press('main a[href$="/decline"]');
  await peers.press("main form button");
  await peers.says("Choose why.");
  await peers.look("decline-without-script");
  await peers.press('main a.button.second');
  await peers.press('main a[href$="/request-info"]');
  await peers.page.fill("#words", "Which language do her children speak?");
  await peers.press("main form button");
  await peers.says("a question was asked");

  await arrives(gp, GP, code, "yours");
  await opens(gp, code);
  await gp.look("referral");
  await gp.says("Which language do her children speak?");
  await gp.press('main a[href$="/answer-info"]');
  await gp.look("answer");
  await gp.page.fill("#words", "Tigrinya and English.");
  await gp.press("main form button");

  await arrives(peers, PEERS, code, "yours");
  await opens(peers, code);
  await peers.says("Tigrinya and English.");
  await peers.press('main a[href$="/accept"]');
  await peers.press("main form button");
  await peers.says("Done: accepted");
  await arrives(gp, GP, code, "theirs", "accepted");
  console.log("  a volunteer asked, was answered, and accepted, without JavaScript");
}

// An admin adds a colleague and ends them.
async function adminManages(browser) {
  const admin = await Visitor.open(browser);
  await admin.signIn(PEERS, "Selam, laptop", "admin");
  await admin.look("colleagues");
  await admin.page.locator('form[action="/colleagues"] button').click();
  await admin.look("colleagues-faults");
  await admin.says("Choose at least one.");
  await admin.page.fill("#name", "Hiwet");
  await admin.choose("role", "coordinator");
  await admin.page.locator('form[action="/colleagues"] button').click();
  await admin.look("colleagues-link");
  const address = (await admin.page.locator(".link").innerText()).trim();
  const hiwet = await Visitor.open(browser);
  await hiwet.page.goto(address);
  await hiwet.press("main button");
  await hiwet.says("Hiwet", "header");
  await admin.page.goto(`${nodeOf(PEERS).web}/colleagues`);
  await admin.page.locator("li", { hasText: "Hiwet" }).locator('form[action$="/end"] button').click();
  await hiwet.page.reload();
  await hiwet.says("You are not signed in.");
  console.log("  an admin added a colleague, who signed in, and ended them");
}

// Everything can be reached and pressed by the keyboard alone.
async function byKeyboard(browser, code) {
  const { page, ...visitor } = await Visitor.open(browser);
  await page.goto(link(PEERS, "Saba", "coordinator"));
  const focus = () => page.evaluate(() => document.activeElement?.outerHTML ?? "");
  const reach = async (part) => {
    for (let times = 0; times < 60; times += 1) {
      await page.keyboard.press("Tab");
      if ((await focus()).includes(part)) return;
    }
    throw new Error(`${part} is not reached by the keyboard on ${page.url()}`);
  };
  await page.keyboard.press("Tab");
  must("the first stop leads to the content", (await focus()).includes("#main"));
  await reach("<button type=\"submit\">");
  await page.keyboard.press("Enter");
  await page.waitForURL(/referrals/);
  await page.goto(`${nodeOf(PEERS).web}/referrals?turn=yours`);
  await reach(`/referrals/${code}`);
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(code));
  await reach("/start");
  await page.keyboard.press("Enter");
  await page.waitForURL(/start$/);
  await reach(">Start helping</button>");
  await page.keyboard.press("Enter");
  await page.waitForURL(/just=moved/);
  await visitor.context.close();
  console.log("  somebody began to help by the keyboard alone");
}

// What a telephone loads before it shows anything, on the first visit.
async function firstPage(browser) {
  const visitor = await Visitor.open(browser);
  const parts = [];
  visitor.page.on("response", (response) => parts.push(response.body().then((body) => body.length)));
  await visitor.page.goto(link(PEERS, "Tsega", "coordinator"), { waitUntil: "networkidle" });
  const bytes = (await Promise.all(parts)).reduce((sum, length) => sum + length, 0);
  must(`the first page is ${bytes} bytes`, parts.length >= 3 && bytes <= FIRST_PAGE_BYTES_MAX);
  console.log(`  the first page with all its parts is ${Math.round(bytes / 1024)} KiB`);
}

// A device keeps a passkey, which signs its owner in without a link, until it is taken away.
async function byPasskey(browser) {
  const visitor = await Visitor.open(browser);
  const { page } = visitor;
  const devices = await visitor.context.newCDPSession(page);
  await devices.send("WebAuthn.enable");
  const options = {
    protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    automaticPresenceSimulation: true,
  };
  await devices.send("WebAuthn.addVirtualAuthenticator", { options });
  await visitor.signIn(PEERS, "Mehret", "coordinator");
  const web = nodeOf(PEERS).web;
  await page.goto(`${web}/passkeys`);
  await visitor.look("passkeys");
  await visitor.says("You have no passkey yet.");
  await page.locator("[data-passkey=make] button").click();
  await page.getByText("Passkey of").first().waitFor();
  await visitor.look("passkeys-one");
  await visitor.press(".leave button");
  await visitor.look("sign-in-passkey");
  await page.locator("[data-passkey=enter] button").click();
  await page.waitForURL(/referrals/);
  await visitor.says("Mehret", "header");
  await page.goto(`${web}/passkeys`);
  await visitor.says("Last used on");
  await visitor.press('form[action="/passkeys/end"] button');
  await visitor.says("You have no passkey yet.");
  await visitor.press(".leave button");
  await page.locator("[data-passkey=enter] button").click();
  await page.getByText("That did not work.").waitFor();
  console.log("  somebody signed in by a passkey, and not after it was taken away");
}

// Every kind of page in every language.
async function inEveryLanguage(browser, code) {
  const everybody = await Visitor.open(browser, { width: 320 });
  await everybody.page.goto(`${nodeOf(PEERS).web}/sign-in`);
  await everybody.look("sign-in");
  await everybody.signIn(PEERS, "Everybody", "coordinator,admin,referrer");
  const at = (path) => `${nodeOf(PEERS).web}${path}`;
  const pages = {
    work: "/referrals?turn=yours", theirs: "/referrals?turn=theirs", over: "/referrals?turn=over", referral: `/referrals/${code}`,
    withdraw: `/referrals/${code}/withdraw`, complete: `/referrals/${code}/complete`, colleagues: "/colleagues", "refer-who": "/refer",
    passkeys: "/passkeys",
    nothing: "/nothing",
  };
  let looked = 0;
  for (const language of LANGUAGES) {
    await everybody.page.goto(at("/referrals"));
    await everybody.page.locator(`footer button[value="${language}"]`).click();
    const html = everybody.page.locator("html");
    must(`the page is in ${language}`, (await html.getAttribute("lang")) === language);
    must(`${language} runs as it should`, (await html.getAttribute("dir")) === (["ar", "fa-AF"].includes(language) ? "rtl" : "ltr"));
    for (const [name, path] of Object.entries(pages)) {
      await everybody.page.goto(at(path));
      await everybody.look(name);
      looked += 1;
    }
  }
  console.log(`  ${looked} pages in ${LANGUAGES.length} languages can be used by everybody, at 320 px`);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const sent = await gpRefers(browser);
  await volunteerAnswers(browser, sent);
  await adminManages(browser);
  await byKeyboard(browser, sent.code);
  await firstPage(browser);
  await byPasskey(browser);
  await inEveryLanguage(browser, sent.code);
} finally {
  await browser.close();
}
