// Numbers as the page shows them; null is a dash.

const DASH = "–";

export const number = (value, digits = 1) => (value === null || value === undefined ? DASH : value.toFixed(digits));
export const percent = (value) => (value === null || value === undefined ? DASH : `${Math.round(100 * value)}%`);
export const millis = (seconds) => (seconds === null || seconds === undefined ? DASH : `${number(1000 * seconds, seconds < 0.01 ? 1 : 0)} ms`);
export const factor = (value) => (value === null || value === undefined ? DASH : `${value.toFixed(2)}×`);

// {reason: count} as "80% one, 20% other"; empty if nothing was counted.
export function shares(counts) {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const counted = Object.entries(counts).filter(([, count]) => count);
  return counted.map(([name, count]) => `${percent(count / total)} ${name}`).join(", ");
}

export const clock = (unixSeconds) => new Date(1000 * unixSeconds).toLocaleTimeString();

// Replaces the pairs of a <dl>: [[term, value], ...].
export function showFigures(list, pairs) {
  while (list.children.length > pairs.length) list.lastChild.remove();
  while (list.children.length < pairs.length) {
    const pair = document.createElement("div");
    pair.append(document.createElement("dt"), document.createElement("dd"));
    list.append(pair);
  }
  pairs.forEach(([term, value], i) => {
    const [dt, dd] = list.children[i].children;
    if (dt.textContent !== term) dt.textContent = term;
    if (dd.textContent !== value) dd.textContent = value;
  });
}

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
