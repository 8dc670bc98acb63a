// The pixels of an uploaded file, as the service reads them.

import { analyse } from "./api.js";

/** Return a canvas of the answer's size. If the browser cannot read the file, such as TIFF, the service sends it as PNG. */
export async function picture(entry) {
  const { width, height } = entry.answer.tile;
  const own = await decode(entry.file).catch(() => null);
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

/** Return the square round a cell that the network sees, enlarged, in the colours of the upload. */
export function crop(source, cell, side, shown) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = shown;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, shown, shown);
  const [x, y] = cell.centroid.map((at) => at + 0.5 - side / 2);
  context.drawImage(source, x, y, side, side, 0, 0, shown, shown);
  return canvas;
}
