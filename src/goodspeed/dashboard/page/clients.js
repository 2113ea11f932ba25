// The cards of the clients: figures, modes, goodput over time, and the text with the origin of every token.

import { shareBar, sparkline } from "./charts.js";
import { element, factor, millis, number, shares, showFigures, percent } from "./format.js";

export const LENGTH = 60; // refreshes that the charts show
const MAX_ANSWERS = 4; // that a card keeps
const MAX_SPANS = 300; // pieces of text that it keeps of each

export class ClientCards {
  constructor(container) {
    this.container = container;
    this.cards = new Map();
  }

  show(clients) {
    clients.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
    const names = new Set(clients.map((client) => client.name));
    for (const [name, card] of this.cards) {
      if (names.has(name)) continue;
      card.root.remove();
      this.cards.delete(name);
    }
    for (const client of clients) this.card(client.name).show(client);
  }

  append(pieces) {
    for (const piece of pieces) this.cards.get(piece.client)?.append(piece);
  }

  card(name) {
    if (!this.cards.has(name)) {
      const card = new ClientCard(name);
      this.cards.set(name, card);
      this.container.append(card.root);
    }
    return this.cards.get(name);
  }
}

class ClientCard {
  constructor(name) {
    this.goodputs = [];
    this.root = element("article");
    this.root.setAttribute("aria-label", name);
    this.figures = element("dl", "figures");
    this.modes = element("div", "bar");
    this.spark = element("div", "spark");
    this.text = element("pre", "text");
    this.text.tabIndex = 0; // it scrolls
    this.text.setAttribute("role", "group");
    this.text.setAttribute("aria-label", `Text of ${name}`);
    this.rounds = element("p");
    this.root.append(element("h3", "", name), this.figures, this.modes, this.rounds, this.spark, this.text);
  }

  show(client) {
    this.goodputs = [...this.goodputs, client.tokens_per_s].slice(-LENGTH);
    this.root.classList.toggle("idle", client.tokens_per_s === 0);
    const drafter = client.drafter;
    showFigures(this.figures, [
      ["tokens/s", number(client.tokens_per_s)],
      ["last minute", number(client.goodput)],
      ["beside target alone", factor(client.speedup)],
      ["accepted", percent(client.acceptance)],
      ["grant", String(client.grant)],
      ["proposed", number(client.proposed_per_round)],
      ["round trip", millis(drafter?.rtt_s)],
      ["jitter", millis(drafter?.jitter_s)],
      ["bytes/token", number(client.bytes_per_token, 0)],
      ["draft", drafter ? (drafter.is_linked ? drafter.draft : "no link") : "–"],
    ]);
    const rounds = roundsByMode(client.modes);
    this.modes.replaceChildren(shareBar(client.modes, rounds));
    this.rounds.textContent = rounds;
    const goodput = `Tokens per second over the last minute, now ${number(client.tokens_per_s)}`;
    this.spark.replaceChildren(sparkline(this.goodputs, LENGTH, goodput));
  }

  append({ stream, parts, finish }) {
    const isAtEnd = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 40;
    const answer = this.answer(stream);
    for (const [origin, text] of parts) answer.append(element("span", origin, text));
    while (answer.childElementCount > MAX_SPANS) answer.firstChild.remove();
    if (finish) answer.dataset.finish = finish;
    if (isAtEnd) this.text.scrollTop = this.text.scrollHeight;
  }

  answer(stream) {
    const known = [...this.text.children].find((answer) => answer.dataset.stream === String(stream));
    if (known) return known;
    const answer = element("div");
    answer.dataset.stream = stream;
    this.text.append(answer);
    while (this.text.childElementCount > MAX_ANSWERS) this.text.firstChild.remove();
    return answer;
  }
}

function roundsByMode(modes) {
  const named = Object.fromEntries(Object.entries(modes).map(([mode, count]) => [mode.replace("_", "-"), count]));
  return `rounds: ${shares(named) || "none in the last minute"}`;
}
