// The live page: receives refreshes and texts, and hands them to the parts of the page.

import { colour, stackedAreas } from "./charts.js";
import { ClientCards, LENGTH } from "./clients.js";
import { clock, element, millis, number, percent, shares, showFigures } from "./format.js";
import { Race } from "./race.js";

const MAX_HAPPENINGS = 60;
const CLOSED_BY = {
  at_once: "at once",
  arrived: "when an awaited proposal came",
  timed_out: "without an awaited proposal",
  full: "because they were full",
};

const byId = (id) => document.getElementById(id);
const cards = new ClientCards(byId("clients"));
const race = new Race(byId("race"), byId("race-result"));
const history = []; // {client: verified draft tokens per second}, a refresh each

function connect() {
  const events = new EventSource("events");
  events.onopen = () => (byId("connection").textContent = "live");
  events.onerror = () => (byId("connection").textContent = "no connection to the page's server; it tries again");
  events.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === "texts") cards.append(event.pieces);
    else showRefresh(event);
  };
}

let latest = 0;

function showRefresh({ overview, happenings }) {
  if (overview.at_s <= latest) return; // again after a reconnection
  latest = overview.at_s;
  const { clients, verifiers } = overview;
  showFigures(byId("totals"), [
    ["tokens/s", number(overview.tokens_per_s)],
    ["clients", String(clients.length)],
    ["Jain's index", number(overview.fairness, 2)],
  ]);
  cards.show(clients);
  showShares(clients);
  showVerifiers(verifiers);
  race.showClients(clients.filter((client) => client.drafter).map((client) => client.name));
  for (const { at_s, text } of happenings) byId("happenings").prepend(element("li", "", `${clock(at_s)} ${text}`));
  while (byId("happenings").children.length > MAX_HAPPENINGS) byId("happenings").lastChild.remove();
}

function showShares(clients) {
  history.push(Object.fromEntries(clients.map((client) => [client.name, client.verified_per_s])));
  if (history.length > LENGTH) history.shift();
  const series = clients.map(({ name }) => ({ name, values: history.map((past) => past[name] ?? 0) }));
  const total = clients.reduce((sum, client) => sum + client.verified_per_s, 0);
  const shares = clients.map((client) => `${client.name} ${percent(total ? client.verified_per_s / total : null)}`);
  const names = element("ul");
  clients.forEach((_, i) => {
    const swatch = element("span", "swatch");
    swatch.style.background = colour(i, clients.length);
    const entry = element("li");
    entry.append(swatch, shares[i]);
    names.append(entry);
  });
  const label = `Verified draft tokens per second over the last minute; now ${shares.join(", ") || "none"}`;
  byId("shares").replaceChildren(stackedAreas(series, LENGTH, label), names);
}

function showVerifiers(verifiers) {
  byId("verifiers").replaceChildren(...verifiers.map(verifierCard));
}

function verifierCard(verifier) {
  const card = element("article");
  const figures = element("dl", "figures");
  card.append(element("h3", "", verifier.url), figures);
  if (!verifier.is_up) {
    showFigures(figures, [["state", "does not answer"]]);
    return card;
  }
  showFigures(figures, [
    ["steps/s", number(verifier.steps_per_s)],
    ["step", millis(verifier.step_s)],
    ["busy", percent(verifier.busy)],
    ["streams per step", number(verifier.streams_per_step)],
    ["tokens per step", number(verifier.tokens_per_step)],
    ["open streams", String(verifier.num_open)],
    ["waiting", String(verifier.num_queued)],
    ["KV memory", percent(verifier.kv_capacity ? verifier.kv_used / verifier.kv_capacity : null)],
    ["wait for a step", millis(verifier.queue_s)],
    ["prompt tokens cached", percent(verifier.cached)],
  ]);
  const closed = Object.entries(verifier.closed_by).map(([reason, count]) => [CLOSED_BY[reason] ?? reason, count]);
  card.append(element("p", "", `batches closed: ${shares(Object.fromEntries(closed)) || "none in the last minute"}`));
  return card;
}

connect();
