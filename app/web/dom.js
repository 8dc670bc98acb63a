// Elements, and numbers as people read them.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: properties, then children (elements or text; null is left out). */
export function html(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element, likewise. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    // A style attribute would be refused by the page's Content-Security-Policy; single properties are not.
    else if (name === "style") for (const [key, of] of Object.entries(value)) element.style.setProperty(key, of);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** A share as a percentage; "–" where there is none. */
export const percent = (share, digits = 0) => (share === null ? "–" : `${(100 * share).toFixed(digits)}%`);

/** A number with a real minus sign; "–" where there is none. */
export const number = (value, digits = 2) =>
  value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");

export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** "Cluster 3", and its name where somebody has given it one. */
export const clusterName = ({ cluster, name }) => (name ? `Cluster ${cluster}: ${name}` : `Cluster ${cluster}`);

/** Column headings: of each its text and class. */
export const headings = (...columns) => columns.map(([text, kind]) => html("th", { scope: "col", class: kind }, text));

/** A square of a cluster's colour. */
export const swatch = (color, kind = "") =>
  html("span", { class: `swatch ${kind}`, style: { "background-color": color }, "aria-hidden": "true" });

/** Hand bytes to the user as a file. */
export function save(blob, name) {
  const link = html("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
