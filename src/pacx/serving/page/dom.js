// Elements from plain values. Text is only ever set as text, so nothing a server says can become markup.
const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(name, value);
  node.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return node;
}

export const element = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const drawn = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

// The paper's two encoders keep the colours of the report's figures; others take what is left, in order.
const FIXED = { mae: "mae", pacx: "pacx" };
const SPARE = ["blue", "green", "ochre", "violet", "slate"];

export function colours(names) {
  const spare = names.filter((name) => !(name in FIXED));
  return Object.fromEntries(names.map((name) => [name, FIXED[name] ?? SPARE[spare.indexOf(name) % SPARE.length]]));
}
