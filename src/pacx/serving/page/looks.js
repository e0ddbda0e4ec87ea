// The film as the encoder saw it, once per encoder, each under its own attention map.
import { colours, element } from "./dom.js";

const CANVAS_PX = 448;
const THIRDS = [["upper left", "upper middle", "upper right"], ["left", "middle", "right"], ["lower left", "lower middle", "lower right"]];

// From transparent to red, as in the report's figures.
const colour = (strength) => [217, 166 * (1 - strength), 26 * (1 - strength), 191 * strength];

function grid(attention) {
  const [height, width] = [attention.length, attention[0].length];
  const patches = element("canvas", { width, height });
  const pixels = new ImageData(width, height);
  attention.flat().forEach((strength, index) => pixels.data.set(colour(strength), 4 * index));
  patches.getContext("2d").putImageData(pixels, 0, 0);
  return patches;
}

function strongest(attention) {
  const flat = attention.flat();
  const best = flat.indexOf(Math.max(...flat));
  const width = attention[0].length;
  const third = (index, length) => Math.floor((3 * (index + 0.5)) / length);
  return THIRDS[third(Math.floor(best / width), attention.length)][third(best % width, width)];
}

function map(name, attention) {
  const about = `Attention of ${name}, strongest in the ${strongest(attention)} of the picture`;
  const canvas = element("canvas", { class: "attention", width: CANVAS_PX, height: CANVAS_PX, role: "img", "aria-label": about });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(grid(attention), 0, 0, CANVAS_PX, CANVAS_PX); // patches blend into each other, as in the report
  return canvas;
}

export function showLooks(place, answer, models) {
  const marks = colours(models.map((model) => model.name));
  const film = `data:image/png;base64,${answer.film.png_base64}`;
  const figures = models.map(({ name, image_size_px: side }) => {
    const { attention } = answer.models[name];
    const image = element("img", { src: film, alt: `The film as ${name} saw it, a grey square of ${side} by ${side} pixels` });
    const patches = attention ? `attention of ${attention.length} × ${attention[0].length} patches` : "no attention map";
    const caption = element("figcaption", {}, element("p", { class: `mark ${marks[name]}` }, name), element("p", {}, `${side} × ${side} px`), element("p", {}, patches));
    return element("figure", {}, element("div", { class: "stack" }, image, attention ? map(name, attention) : null), caption);
  });
  place.replaceChildren(...figures);
}
