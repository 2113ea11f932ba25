// The race: one prompt, with GoodSpeed and by the target alone.

import { factor, number } from "./format.js";

export class Race {
  constructor(form, result) {
    this.form = form;
    this.result = result;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
  }

  showClients(names) {
    const select = this.form.elements.client;
    const known = [...select.options].map((option) => option.value);
    if (known.join() === names.join()) return;
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
  }

  async run() {
    const fields = new FormData(this.form);
    const lanes = { goodspeed: new Lane("goodspeed"), target_only: new Lane("target_only") };
    const button = this.form.querySelector("button");
    button.disabled = true;
    this.result.textContent = "";
    try {
      const body = { client: fields.get("client"), prompt: fields.get("prompt"), max_tokens: Number(fields.get("max_tokens")) };
      const reply = await fetch("race", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      if (!reply.ok) throw new Error((await reply.json()).error.message);
      for await (const event of jsonLines(reply.body)) lanes[event.lane].on(event);
      this.result.textContent = verdict(lanes);
    } catch (error) {
      this.result.textContent = `The race failed: ${error.message}`;
    } finally {
      button.disabled = false;
    }
  }
}

class Lane {
  constructor(name) {
    this.figure = document.querySelector(`[data-lane="${name}"]`);
    this.pre = document.querySelector(`[data-text="${name}"]`);
    this.pre.textContent = "";
    this.figure.textContent = "";
    this.seconds = null;
  }

  on({ at_s, text, num_tokens, error }) {
    if (error) this.figure.textContent = error;
    this.pre.append(text);
    this.pre.scrollTop = this.pre.scrollHeight;
    if (num_tokens !== null) {
      this.seconds = at_s;
      this.figure.textContent = `${num_tokens} tokens in ${number(at_s, 2)} s: ${number(num_tokens / at_s)} tokens/s`;
    }
  }
}

function verdict({ goodspeed, target_only }) {
  if (goodspeed.seconds === null || target_only.seconds === null) return "A lane did not finish.";
  const texts = goodspeed.pre.textContent === target_only.pre.textContent ? "The texts are identical." : "The texts differ.";
  return `GoodSpeed was ${factor(target_only.seconds / goodspeed.seconds)} as fast as the target alone. ${texts}`;
}

async function* jsonLines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
