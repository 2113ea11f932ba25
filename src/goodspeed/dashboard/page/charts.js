// Small charts as SVG: a sparkline, a bar of shares, and areas on top of each other.

const NAMESPACE = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;

function svg(name, attributes) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function canvas(label) {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
}

// values: numbers, the latest last; length: how many fit.
export function sparkline(values, length, label) {
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, i) => `${x(i, values.length, length)},${y(value / top)}`).join(" ");
  const chart = canvas(label);
  chart.append(svg("polyline", { points }));
  return chart;
}

// shares: {class: count}.
export function shareBar(shares, label) {
  const total = Object.values(shares).reduce((sum, count) => sum + count, 0);
  const chart = canvas(label);
  let left = 0;
  for (const [name, count] of Object.entries(shares)) {
    const width = total ? (WIDTH * count) / total : 0;
    if (width) chart.append(svg("rect", { x: left, y: 0, width, height: HEIGHT, class: name }));
    left += width;
  }
  return chart;
}

// series: [{name, values}], all of one length; the areas are stacked.
export function stackedAreas(series, length, label) {
  const chart = canvas(label);
  if (!series.length) return chart;
  const count = series[0].values.length;
  const sums = Array.from({ length: count }, (_, i) => series.reduce((sum, one) => sum + one.values[i], 0));
  const top = Math.max(...sums, 1e-9);
  let lower = new Array(count).fill(0);
  series.forEach(({ name, values }, index) => {
    const upper = values.map((value, i) => lower[i] + value);
    const there = upper.map((value, i) => `${x(i, count, length)},${y(value / top)}`);
    const back = lower.map((value, i) => `${x(i, count, length)},${y(value / top)}`).reverse();
    const area = svg("polygon", { points: [...there, ...back].join(" "), fill: colour(index, series.length) });
    const title = svg("title", {});
    title.textContent = name;
    area.append(title);
    chart.append(area);
    lower = upper;
  });
  return chart;
}

export const colour = (index, count) => `oklch(0.66 0.14 ${Math.round((360 * index) / Math.max(count, 1)) + 20})`;

const x = (i, count, length) => (WIDTH * (length - count + i)) / Math.max(length - 1, 1);
const y = (share) => HEIGHT * (1 - 0.94 * share);
