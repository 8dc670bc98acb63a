// The pixels of an uploaded file, as the service reads them.

import { analyse } from "./api.js";

/**
 * Return a canvas of the answer's size. The service sends a PNG of the pixels if the browser cannot read the file, such
 * as TIFF, or would turn it by its orientation.
 */
export async function picture(entry) {
  const { tile, quality } = entry.answer;
  const { width, height } = tile;
  const isTurned = quality.flags.some(({ code }) => code === "orientation_ignored");
  const own = isTurned ? null : await decode(entry.file).catch(() => null);
  const bitmap =
    own?.width === width && own?.height === height ? own : await decode(await analyse(entry.file, entry.options, "tile"));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  // The service takes transparent pixels for glass, which is white.
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return canvas;
}

const decode = (blob) => createImageBitmap(blob, { colorSpaceConversion: "none" });

/** Return the square round a cell that the network sees, or one of another side, enlarged, in the colours of the upload. */
export function crop(source, cell, side, shown) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = shown;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, shown, shown);
  context.imageSmoothingQuality = "high";
  const [x, y] = cell.centroid.map((at) => at + 0.5 - side / 2);
  context.drawImage(source, x, y, side, side, 0, 0, shown, shown);
  return canvas;
}

const LARGE_PX = 160;
const MARGIN = 2;

/** Return a square that holds the whole nuclei of some cells, and no less than the network sees of one. */
export function enlarged(source, cells, side) {
  const [low, high] = [0, 1].map((end) => [0, 1].map((axis) => (end ? Math.max : Math.min)(...cells.map(({ bbox }) => bbox[2 * end + axis]))));
  const centroid = [0, 1].map((axis) => (low[axis] + high[axis] - 1) / 2);
  const longest = Math.max(high[0] - low[0], high[1] - low[1]);
  return crop(source, { centroid }, Math.max(side, MARGIN * longest), LARGE_PX);
}
