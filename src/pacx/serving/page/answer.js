// What the encoders say of a film: a forest plot of the findings, one of the read-outs, and how far to believe them.
import { colours, drawn, element } from "./dom.js";

const OPEN = "open";
const UNUSUAL = 99; // percentile of held-out films above which the server calls a film unusual
const listed = (words) => new Intl.ListFormat("en", { type: "conjunction" }).format(words);
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });

const probability = (value) => (value < 0.005 ? "<0.01" : value > 0.995 ? ">0.99" : value.toFixed(2));
// Three digits of the largest number on the axis, and as many decimals for all the others.
function measuredOn([from, to]) {
  const digits = 2 - Math.floor(Math.log10(Math.max(Math.abs(from), Math.abs(to))));
  return (value) => (value === null ? OPEN : value.toFixed(Math.min(8, Math.max(0, digits))));
}

// A position on an axis, as a percentage of its width.
const at = (value, [from, to]) => `${Math.min(100, Math.max(0, (100 * (value - from)) / (to - from))).toFixed(2)}%`;

// An interval on an axis; an open end runs to the edge and ends in an arrow.
function interval({ low, value, high }, axis, ticks, colour) {
  const ends = [low === null ? "0%" : at(low, axis), high === null ? "100%" : at(high, axis)];
  const arrow = (x, path) => drawn("svg", { x, y: "50%", overflow: "visible" }, drawn("path", { d: path, class: "arrow" }));
  return drawn("svg", { class: `interval ${colour}`, "aria-hidden": "true" },
    ticks.map((tick) => drawn("line", { class: "tick", x1: at(tick, axis), x2: at(tick, axis), y1: "0", y2: "100%" })),
    drawn("line", { class: "bar", x1: ends[0], x2: ends[1], y1: "50%", y2: "50%" }),
    low === null ? arrow("0%", "M5 -4 L0 0 L5 4") : null,
    high === null ? arrow("100%", "M-5 -4 L0 0 L-5 4") : null,
    drawn("circle", { class: "point", cx: at(value, axis), cy: "50%", r: "4" }));
}

function line(encoder, colour, plot, number, range) {
  return [
    element("th", { scope: "row", class: "encoder" }, element("span", { class: `mark ${colour}` }, encoder)),
    element("td", { class: "plot" }, plot),
    element("td", { class: "number" }, element("strong", {}, number), range ? element("span", { class: "range" }, ` ${range}`) : null),
  ];
}

// One group of lines per name, one line per encoder, so that two encoders stand on the same axis.
function forest(caption, head, groups) {
  const bodies = groups.map(({ name, lines }) =>
    element("tbody", {}, lines.map((cells, index) =>
      element("tr", {}, index ? null : element("th", { scope: "rowgroup", rowspan: lines.length, class: "name" }, name), cells))));
  return element("table", { class: "forest" }, element("caption", {}, caption), head, ...bodies);
}

function header(what, axis) {
  const titles = [[what, "name"], ["Encoder", "encoder"], [axis, "plot"], ["Value and interval", "number"]];
  return element("thead", {}, element("tr", {}, titles.map(([title, kind]) => element("th", { scope: "col", class: kind }, title))));
}

const unique = (words) => [...new Set(words)];
const found = (list, key, name) => list.find((each) => each[key] === name);

function findings(answer, names, marks) {
  const labels = unique(names.flatMap((name) => answer.models[name].findings.map((each) => each.label)));
  if (!labels.length) return absent("Findings", "No encoder on this server carries a classifier.");
  const groups = labels.map((label) => ({
    name: label.replaceAll("_", " "),
    lines: names.filter((name) => found(answer.models[name].findings, "label", label)).map((name) => {
      const each = found(answer.models[name].findings, "label", label);
      const plot = interval({ ...each, value: each.probability }, [0, 1], [0, 0.5, 1], marks[name]);
      return line(name, marks[name], plot, probability(each.probability), `[${probability(each.low)}, ${probability(each.high)}]`);
    }),
  }));
  const scale = element("span", { class: "scale" }, element("span", {}, "0"), element("span", {}, "0.5"), element("span", {}, "1"));
  const caption = "Probability, with a 95 % interval over classifiers fitted on resampled training patients: how sure the fit is, not how sure anyone may be of the finding.";
  return section("Findings", forest(caption, header("Finding", scale), groups));
}

// The axis of a quantity: everything finite that any encoder says of it, with a little air.
function axisOf(readouts) {
  const finite = readouts.flatMap(({ low, value, high }) => [low, value, high]).filter((each) => each !== null);
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  const air = 0.08 * (most - least || Math.abs(most) || 1);
  return [least - air, most + air];
}

function readouts(answer, names, marks) {
  const quantities = unique(names.flatMap((name) => answer.models[name].readouts.map((each) => each.name)));
  if (!quantities.length) return absent("Read-outs", "No encoder on this server carries read-outs of measured values.");
  const of = (name, quantity) => found(answer.models[name].readouts, "name", quantity);
  const isSaid = (name, quantity) => of(name, quantity) && !of(name, quantity).abstains;
  const said = quantities.filter((quantity) => names.some((name) => isSaid(name, quantity)));
  const groups = said.map((quantity) => {
    const axis = axisOf(names.filter((name) => isSaid(name, quantity)).map((name) => of(name, quantity)));
    const measured = measuredOn(axis);
    const lines = names.filter((name) => of(name, quantity)).map((name) => {
      if (!isSaid(name, quantity)) return line(name, marks[name], "", "abstains");
      const each = of(name, quantity);
      return line(name, marks[name], interval(each, axis, [], marks[name]), measured(each.value), `[${measured(each.low)}, ${measured(each.high)}]`);
    });
    return { name: quantity, lines };
  });
  const levels = unique(names.flatMap((name) => answer.models[name].readouts.map((each) => percent.format(each.level).replace("%", " %"))));
  const caption = `Guessed from the film alone. An interval covers the true value of ${levels.join(" or ")} of new patients of the hospital it was fitted at; "open" means that nothing beyond was seen there. Each quantity has its own axis.`;
  const silent = quantities.filter((quantity) => !said.includes(quantity));
  return section("Read-outs",
    said.length ? forest(caption, header("Quantity", ""), groups) : null,
    silent.length ? element("p", { class: "silent" }, `${names.length > 1 ? "All encoders abstain" : "It abstains"} from ${silent.join("; ")}: the film says too little about ${silent.length > 1 ? "them" : "it"}.`) : null);
}

function distance(name, { percentile, is_unusual: isUnusual }, colour) {
  const farther = percentile > 99.9 ? "more than 99.9" : percentile.toFixed(percentile > 99 ? 1 : 0);
  return element("li", {},
    element("span", { class: `mark ${colour}` }, name),
    interval({ low: 0, value: percentile, high: percentile }, [0, 100], [0, UNUSUAL], colour),
    element("span", {}, `farther from its training films than ${farther} % of held-out films`, isUnusual ? element("strong", {}, ": unusual") : ""));
}

function familiarity(answer, names, marks) {
  const known = names.filter((name) => answer.models[name].out_of_distribution);
  const unknown = names.filter((name) => !known.includes(name));
  const unusual = known.filter((name) => answer.models[name].out_of_distribution.is_unusual);
  const warning = unusual.length ? element("div", { class: "warning" },
    element("strong", {}, "Unusual film. "),
    `${listed(unusual)} ${unusual.length > 1 ? "have" : "has"} hardly seen its like. What follows was not tested on such films; do not rely on it.`) : null;
  const silent = unknown.length ? element("p", { class: "small" }, `${listed(unknown)} cannot tell whether this film is unusual: no reference films were kept with ${unknown.length > 1 ? "them" : "it"}.`) : null;
  const list = known.length ? element("ul", { class: "distances" }, known.map((name) => distance(name, answer.models[name].out_of_distribution, marks[name]))) : null;
  return section("How familiar the film is", warning, list, silent);
}

const section = (title, ...content) => element("section", {}, element("h2", {}, title), ...content);
const absent = (title, sentence) => section(title, element("p", { class: "small" }, sentence));

// Which graph the server chose: 8 bits give other last digits than 32.
function computed(answer, names) {
  const bits = { fp32: "32 bits (fp32)", int8: "8 bits (int8)" };
  const said = names.map((name) => `${name} in ${bits[answer.models[name].precision]}`);
  return element("p", { class: "small" }, `Computed by ${listed(said)}.`);
}

export function showAnswer(place, answer, models) {
  const names = models.map((model) => model.name).filter((name) => name in answer.models);
  const marks = colours(names);
  place.classList.toggle("alone", names.length === 1);
  place.replaceChildren(familiarity(answer, names, marks), findings(answer, names, marks), readouts(answer, names, marks), computed(answer, names));
}

export function showNotLearnt(place, models) {
  const sentences = unique(models.flatMap((model) => model.not_learnt));
  const whose = (sentence) => models.filter((model) => model.not_learnt.includes(sentence)).map((model) => model.name);
  const items = sentences.map((sentence) => {
    const owners = whose(sentence);
    return element("li", {}, owners.length < models.length ? element("strong", {}, `${listed(owners)}: `) : null, sentence);
  });
  const title = models.length > 1 ? "What the encoders have not learnt" : "What the encoder has not learnt";
  place.replaceChildren(sentences.length ? section(title, element("ul", {}, items)) : "");
}

export function showEncoders(place, models) {
  const facts = [
    ["Input", (model) => `${model.image_size_px} × ${model.image_size_px} px, grey`],
    ["Embedding", (model) => `${model.embedding_dim} numbers`],
    ["Runs as", (model) => `${model.precision}, ${model.runtime}`],
    ["Weights SHA-256", (model) => element("code", {}, model.weights_sha256)],
    ["Input contract SHA-256", (model) => element("code", {}, model.preprocessing_sha256)],
  ];
  const cards = models.map((model) => element("div", { class: "card" },
    element("h3", {}, model.name),
    element("dl", {}, facts.flatMap(([title, fact]) => [element("dt", {}, title), element("dd", {}, fact(model))]))));
  const details = element("details", {}, element("summary", {}, `Encoders on this server: ${listed(models.map((model) => model.name))}`), ...cards);
  place.replaceChildren(details);
}
