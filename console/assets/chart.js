// A line chart in SVG.
import { html } from "./html.js";
import { clock, t } from "./i18n.js";

const [WIDTH, HEIGHT] = [300, 90];
const [LEAST, MOST] = [300_000, 3_600_000];

/** Returns a round number of at least `value`. */
function ceiling(value) {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map((step) => step * unit).find((step) => step >= value);
}

/** `points` are pairs of a time and a value, or null for a gap. `show` returns a value as text. */
export function Chart({ title, points, show }) {
  const end = points.at(-1)?.[0] ?? Date.now();
  const span = Math.min(MOST, Math.max(LEAST, end - (points[0]?.[0] ?? end)));
  const top = ceiling(Math.max(0, ...points.map(([, value]) => value ?? 0)));
  let pen = "M";
  const line = points.map(([at, value]) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const command = `${pen}${(WIDTH * (1 - (end - at) / span)).toFixed(1)},${(HEIGHT * (1 - value / top)).toFixed(1)}`;
    pen = "L";
    return command;
  });
  const last = points.findLast(([, value]) => value !== null)?.[1];
  const now = last === undefined ? "–" : show(last);
  return html`<figure class="chart">
    <figcaption>${title}<strong>${now}</strong></figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img"
      aria-label="${title}: ${now}. ${t("chart.most")}: ${show(top)}">
      ${[0, 0.5, 1].map((part) => html`<line x1="0" x2=${WIDTH} y1=${part * HEIGHT} y2=${part * HEIGHT} class="grid" />`)}
      <path d=${line.join("")} class="line" />
    </svg>
    <p class="axis" aria-hidden="true">
      <span>${clock(end - span)}</span><span>${t("chart.top")} ${show(top)}</span><span>${clock(end)}</span>
    </p>
  </figure>`;
}
