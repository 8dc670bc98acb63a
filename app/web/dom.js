// Elements of the page, and numbers as people read them.

const SVG = "http://www.w3.org/2000/svg";

/** Return an HTML element with these properties and children. Children are elements or text; null and false are left out. */
export function html(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Return an SVG element with these properties and children. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    // The page's Content-Security-Policy refuses style attributes, and allows single properties.
    else if (name === "style") for (const [key, of] of Object.entries(value)) element.style.setProperty(key, of);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Return a share as a percentage; "–" if there is none. */
export const percent = (share, digits = 0) => (share === null ? "–" : `${(100 * share).toFixed(digits)}%`);

/** Return a number with a real minus sign; "–" if there is none. */
export const number = (value, digits = 2) =>
  value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");

export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** Return "Cluster 3", and the cluster's name if it has one. */
export const clusterName = ({ cluster, name }) => (name ? `Cluster ${cluster}: ${name}` : `Cluster ${cluster}`);

/** Return the headings of columns, each given by its text and class. */
export const headings = (...columns) => columns.map(([text, kind]) => html("th", { scope: "col", class: kind }, text));

/** Return a square of a cluster's colour. */
export const swatch = (color, kind = "") =>
  html("span", { class: `swatch ${kind}`, style: { "background-color": color }, "aria-hidden": "true" });

/** Save bytes as a file on the user's computer. */
export function save(blob, name) {
  const link = html("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
