// Maps as pictures: one canvas per layer, its maps side by side, blue where positive, orange where negative.

const $ = (id) => document.getElementById(id);

// An element with properties (dataset and aria- included) and children; text is always text.
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const theme = { dark: matchMedia("(prefers-color-scheme: dark)") };
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["zero", "positive", "negative", "mark", "ink", "quiet"]) {
    const hex = style.getPropertyValue(`--${name}`).trim();
    theme[name] = hex, theme[`${name}Rgb`] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  }
}

// The color of a share of the largest value, -1 to 1; a root lets small values be seen.
function mixed(share) {
  const t = Math.min(1, Math.abs(share)) ** 0.7, to = share < 0 ? theme.negativeRgb : theme.positiveRgb;
  return theme.zeroRgb.map((from, i) => from + (to[i] - from) * t);
}

const largest = (values) => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;

// The colors of values in [channel][row][column]: three channels as red, green and blue around gray.
function colorsOf(values, size, inColor, top) {
  const [channels, height, width] = size, area = height * width;
  if (!inColor) return (i) => mixed(values[i] / top);
  return (i) => Array.from({ length: 3 }, (_, c) => 127.5 + 127.5 * values[(c % channels) * area + i] / top);
}

// The size of a canvas in points of the page, sharp on every screen.
function fit(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio), canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`, canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.imageSmoothingEnabled = false;
  return pen;
}

// The maps of a layer in one canvas. size: [C, H, W].
class MapView {
  constructor(canvas, size, inColor = false) {
    Object.assign(this, { canvas, size, inColor, visible: true, small: el("canvas") });
    this.count = inColor ? 1 : size[0];
  }

  // Choose how large a unit is and how many maps stand beside one another; side: wished for, of a map.
  arrange(room, side) {
    const [, height, width] = this.size, single = height * width === 1;
    this.scale = Math.max(1, Math.round(side / width));
    while (this.scale > 1 && width * this.scale > room) this.scale--;
    const row = (scale) => this.count * (width * scale + Math.max(3, scale));
    if (this.count > 1 && this.scale > 1 && row(this.scale) > room && row(this.scale - 1) <= room) this.scale--;
    this.gap = single ? 2 : Math.max(3, this.scale);
    this.columns = Math.min(this.count, Math.max(1, Math.floor((room + this.gap) / (width * this.scale + this.gap))));
    this.rows = Math.ceil(this.count / this.columns);
    this.step = [width * this.scale + this.gap, height * this.scale + this.gap];
    this.pen = fit(this.canvas, this.columns * this.step[0] - this.gap, this.rows * this.step[1] - this.gap);
    this.small.width = this.columns * width, this.small.height = this.rows * height;
    this.pixels = new ImageData(this.small.width, this.small.height);
  }

  corner(map) { return [(map % this.columns) * this.step[0], Math.floor(map / this.columns) * this.step[1]]; }

  // color(i): of value i as [red, green, blue].
  paint(color) {
    const [, height, width] = this.size, { data } = this.pixels, small = this.small.getContext("2d");
    for (let map = 0, i = 0; map < this.count; map++) {
      const left = (map % this.columns) * width, top = Math.floor(map / this.columns) * height;
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++, i++) {
          const [r, g, b] = color(i), at = ((top + y) * this.small.width + left + x) * 4;
          data[at] = r, data[at + 1] = g, data[at + 2] = b, data[at + 3] = 255;
        }
      }
    }
    small.putImageData(this.pixels, 0, 0);
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (let map = 0; map < this.count; map++) {
      const [x, y] = this.corner(map), from = [(map % this.columns) * width, Math.floor(map / this.columns) * height];
      this.pen.drawImage(this.small, ...from, width, height, x, y, width * this.scale, height * this.scale);
    }
  }

  // Frame a part of the maps: where a unit looks.
  frame(part, thick = 1.5) {
    const [channels, height, width] = this.size, whole = part.channels.size === channels && height * width === 1;
    this.pen.strokeStyle = theme.mark, this.pen.lineWidth = thick;
    if (whole) {
      const [x, y] = [this.columns * this.step[0], this.rows * this.step[1]].map((side) => side - this.gap);
      return this.pen.strokeRect(thick / 2, thick / 2, x - thick, y - thick);
    }
    for (const map of this.inColor ? [0] : part.channels) {
      const [x, y] = this.corner(map), wide = part.right - part.left + 1, high = part.bottom - part.top + 1;
      this.pen.strokeRect(x + part.left * this.scale + thick / 2, y + part.top * this.scale + thick / 2,
        wide * this.scale - thick, high * this.scale - thick);
    }
  }

  // The unit at a pointer: [map, row, column], or null between the maps.
  at(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    const map = Math.floor(y / this.step[1]) * this.columns + Math.floor(x / this.step[0]);
    const row = Math.floor((y % this.step[1]) / this.scale), column = Math.floor((x % this.step[0]) / this.scale);
    return map < this.count && row < this.size[1] && column < this.size[2] ? [map, row, column] : null;
  }
}

const minus = (text) => text.replace("-", "−");
// Two digits after the decimal point; more for what would be 0.00.
function number(value) {
  const size = Math.abs(value);
  return minus(size >= 100 ? value.toFixed(1) : size < 0.005 && size > 0 ? value.toPrecision(2) : value.toFixed(2));
}

// Numbers in a square of colored cells; null: beyond the edge of the map. marked: a cell to frame.
function numberGrid(values, columns, { marked = -1, top = largest(values), cell = 21 } = {}) {
  const read = values.map((value) => (value === null ? "outside" : number(value))).join(" ");
  const canvas = el("canvas", { role: "img", "aria-label": `numbers, row by row: ${read}` });
  const pen = fit(canvas, columns * cell, Math.ceil(values.length / columns) * cell);
  pen.font = "9px system-ui, sans-serif", pen.textAlign = "center", pen.textBaseline = "middle";
  values.forEach((value, i) => {
    const x = (i % columns) * cell, y = Math.floor(i / columns) * cell, [r, g, b] = mixed((value ?? 0) / top);
    pen.fillStyle = value === null ? "transparent" : `rgb(${r} ${g} ${b})`;
    pen.fillRect(x, y, cell - 1, cell - 1);
    pen.fillStyle = 0.3 * r + 0.6 * g + 0.1 * b > 128 ? "#14161a" : "#ffffff";
    if (value === null) pen.fillStyle = theme.quiet, pen.fillText("·", x + cell / 2, y + cell / 2);
    else if (cell > 16) pen.fillText(short(value), x + cell / 2 - 0.5, y + cell / 2, cell - 2);
    if (i === marked) pen.strokeStyle = theme.mark, pen.lineWidth = 2.5, pen.strokeRect(x + 1, y + 1, cell - 3, cell - 3);
  });
  return canvas;
}

// As few letters as a cell has room for: .31, −1.2, 12.
function short(value) {
  const size = Math.abs(value), places = size < 0.995 ? 2 : size < 9.95 ? 1 : 0;
  const text = places === 2 ? value.toFixed(2).replace("0.", ".") : value.toFixed(places);
  return minus(["-.00", ".00"].includes(text) ? "0" : text);
}
