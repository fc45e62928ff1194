// The page: the picture from the pad to the network, and everything that answers to it.

const content = JSON.parse($("content").textContent), { input, classes, neighbors: near } = content;
const network = new Network(content.operations, [input.channels, input.size, input.size]);
const names = ["the picture", ...content.operations.map((op) => op.name)];
const inColor = input.channels === 3, pad = $("pad"), paint = pad.getContext("2d", { willReadFrequently: true });

// levels: what the network sees before it is moved (shift) and covered (cover, the square's center).
const state = { levels: null, shift: [0, 0], cover: null, unit: null, truth: null, filledTo: Infinity };

// --- from the pad to the answer

// The levels of a canvas; one channel where all are alike.
function levelsOf(pen, width, height, channels = 3) {
  const { data } = pen.getImageData(0, 0, width, height), area = width * height;
  return image(channels, height, width, filled(channels * area, (i) => data[4 * (i % area) + Math.floor(i / area)]));
}

function take(levels, truth = null, pressed = null) {
  Object.assign(state, { levels, truth, shift: [0, 0], cover: null });
  for (const button of $("examples").children) button.setAttribute("aria-pressed", button === pressed);
  later();
}

const takePad = () => take(seen(levelsOf(paint, 256, 256, input.channels), input));

// What the network gets: moved by whole pixels, black behind it, gray where it is covered.
function shown() {
  const { levels, shift: [dx, dy], cover } = state, side = input.size, moved = place(levels, side, side, dy, dx);
  if (!cover) return moved;
  const square = Math.max(1, Math.round(side / 5)), [left, top] = cover.map((center) => center - Math.floor(square / 2));
  const isUnder = (at, corner) => at >= corner && at < corner + square;
  const isCovered = (i) => isUnder(i % side, left) && isUnder(Math.floor(i / side) % side, top);
  return { ...moved, data: moved.data.map((level, i) => (isCovered(i) ? 128 : level)) };
}

let waiting = false;
function later() {
  if (waiting || !state.levels) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; answer(); });
}

function answer() {
  const picture = shown(), scores = network.run(normalized(picture, input));
  paintAll(picture), showScores(scores), showNearest(), showUnit();
}

// --- the maps

const seenView = new MapView($("seen"), network.sizes[0], true), projection = new MapView($("projection"), network.sizes[0], inColor);
const views = [];

const WORDS = {
  batch_norm: "batch normalization", conv: "convolution", local: "locally connected", fc: "fully connected", max_pool: "max pooling",
  average_pool: "mean pooling", subsample: "subsampling", relu: "ReLU", tanh: "tanh", sigmoid: "sigmoid", factor: "dropout",
  norm_across_maps: "normalization across maps", norm_within_map: "normalization within maps",
  flatten: "the same units in one row", rbf: "distances to bitmaps",
};

function describe(op) {
  const [channels, height, width] = op.size, size = height * width > 1 ? `${channels} × ${height} × ${width}` : `${channels} units`;
  const window = op.kernel > 1 ? ` ${op.kernel}×${op.kernel}, stride ${op.stride}${op.padding ? `, padding ${op.padding}` : ""}` : "";
  const words = [`${WORDS[op.role] ?? WORDS[op.kind]}${window}${op.groups > 1 ? `, ${op.groups} groups` : ""}`, size];
  return [...words, ...(op.numbers ? [`${op.numbers.toLocaleString("en")} parameters`] : []), `sees ${op.field}×${op.field}`].join(" · ");
}

function buildLayer(op, layer) {
  const facts = describe(op), canvas = el("canvas", { tabIndex: 0, role: "img", "aria-label": `${op.name}, ${facts}` });
  const section = el("div", { className: "layer" }, el("h3", {}, op.name), el("span", { className: "facts" }, facts));
  const view = Object.assign(new MapView(canvas, op.size), { section, layer });
  views.push(view);
  $("layers").append(section);
  view.visible = false;
  if (["flatten", "factor"].includes(op.kind)) return section.classList.add("thin");

  const lines = op.formulas.map((formula, i) => formula && `${["side", "parameters"][i]}: ${formula}`).filter(Boolean);
  section.append(el("p", { className: "formula" }, lines.join("   ")), canvas);
  canvas.onclick = (event) => { const unit = view.at(event); if (unit) touch(layer, ...unit); };
  canvas.onkeydown = (event) => keyOn(event, layer);
  if (op.kind === "rbf") {
    view.bitmaps = new MapView(el("canvas", { role: "img", "aria-label": "F6, then the bitmap of each class" }), [op.size[0] + 1, 12, 7]);
    view.bitmaps.canvas.onclick = (event) => { const at = view.bitmaps.at(event); if (at?.[0]) touch(layer, at[0] - 1, 0, 0); };
    section.append(el("p", { className: "formula" }, "F6 as a picture, and beside it the bitmap of each class"), view.bitmaps.canvas);
  }
  watcher.observe(section);
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) views.find((view) => view.section === target).visible = isIntersecting;
  later();
}, { rootMargin: "150px" });

function arrange() {
  readTheme();
  for (const view of views) {
    const [channels, height, width] = view.size, isVector = height * width === 1, room = $("layers").clientWidth - 32;
    const side = isVector ? (channels <= 16 ? 24 : channels <= 256 ? 13 : 6) : channels <= 8 ? 76 : channels <= 32 ? 52 : 34;
    view.arrange(room, side);
    view.bitmaps?.arrange(room, 42);
  }
  seenView.arrange(140, 132), projection.arrange(290, 200);
  later();
}

function paintAll(picture) {
  const { unit, filledTo } = state, area = input.size ** 2, trail = unit && network.trail(unit.layer, unit.channel, unit.row, unit.column);
  seenView.paint((i) => [0, 1, 2].map((c) => picture.data[(c % input.channels) * area + i]));
  if (trail) seenView.frame(trail[0], 2);
  for (const view of views.filter((one) => one.visible)) {
    const values = network.values[view.layer], color = colorsOf(values, view.size, false, largest(values));
    const isOwn = unit?.layer === view.layer, startOf = (channel) => indexOf(view.size, [channel, 0, 0]);
    const [first, end] = isOwn ? [startOf(unit.channel) + filledTo, startOf(unit.channel + 1)] : [Infinity, 0];
    view.section.classList.toggle("lit", isOwn);
    view.paint((i) => (i > first && i < end ? theme.zeroRgb : color(i)));
    if (trail && view.layer <= unit.layer) view.frame(trail[view.layer], isOwn ? 2.5 : 1.5);
    if (!view.bitmaps) continue;
    const units = network.values[view.layer - 1], { weight } = network.operations[view.layer - 1];
    view.bitmaps.paint((i) => mixed((i < units.length ? units[i] : weight[i - units.length]) / 1.7));
  }
}

// --- the answer

const many = classes.length > 12;
const bars = Array.from({ length: many ? 10 : classes.length }, () => {
  const [name, fill, share] = [el("span", { className: "name" }), el("div", { className: "fill" }), el("span", { className: "share" })];
  const row = el("div", { className: "row" }, name, el("div", { className: "track" }, fill), share);
  $("bars").append(row);
  return { name, fill, share, row };
});

let speaking;
function showScores(scores) {
  const chances = softmax(scores), order = chances.map((_, k) => k).sort((a, b) => chances[b] - chances[a]), best = order[0];
  bars.forEach(({ name, fill, share, row }, i) => {
    const k = many ? order[i] : i;
    name.textContent = name.title = classes[k], share.textContent = `${(100 * chances[k]).toFixed(1)} %`;
    share.title = `score ${number(scores[k])}`, fill.style.width = `${100 * chances[k]}%`;
    row.className = `row${k === best ? " best" : ""}${k === state.truth ? " true" : ""}`;
  });
  const far = (steps, [back, forth]) => steps && `${Math.abs(steps)} ${steps > 0 ? forth : back}`;
  const words = [far(state.shift[0], ["left", "right"]), far(state.shift[1], ["up", "down"])].filter(Boolean);
  $("label").textContent = state.truth === null ? "" : `labeled ${classes[state.truth]}`;
  $("moved").textContent = words.length ? `moved ${words.join(", ")}` : "";
  clearTimeout(speaking);
  const sentence = `The answer is ${classes[best]}, ${(100 * chances[best]).toFixed(0)} percent.`;
  speaking = setTimeout(() => { $("said").textContent = sentence; }, 700);
}

function showNearest() {
  $("nearest").hidden = !near || Number($("moments").value) !== content.moment;
  if ($("nearest").hidden) return;
  const units = network.values[near.layer], step = (near.high - near.low) / 255;
  const apart = near.labels.map((_, n) => Math.sqrt(units.reduce(
    (sum, value, i) => sum + (value - near.low - step * near.vectors[n * units.length + i]) ** 2, 0)));
  const order = apart.map((_, n) => n).sort((a, b) => apart[a] - apart[b]).slice(0, 5);
  if ($("neighbors").dataset.shown === `${order}`) return;
  $("neighbors").dataset.shown = order;
  $("neighbors").replaceChildren(...order.map((n) => el("figure", {},
    thumbnail(near.images, n, near.size), el("figcaption", {}, classes[near.labels[n]]))));
}

// --- a touched unit

const explanation = new Explanation(network, names, classes, touch), hints = [...$("explained").children];
let explained = 0, sliding;
function touch(layer, channel, row, column) {
  stop();
  state.unit = { layer, channel, row, column }, explained = 0;
  $("unit").classList.add("open");
  later();
}

// While somebody draws, the numbers follow ten times a second, and the maps at once.
function showUnit() {
  const { unit } = state, now = performance.now();
  $("close").hidden = $("back").hidden = !unit;
  if (!unit) return $("explained").replaceChildren(...hints);
  if (now - explained < 100) return setTimeout(later, 100);
  explained = now;
  $("explained").replaceChildren(...explanation.of(unit));
  if ($("slide")) $("slide").onclick = () => slide(unit.layer, unit.channel);
  const found = network.project(unit.layer, indexOf(network.sizes[unit.layer], [unit.channel, unit.row, unit.column]));
  projection.paint(colorsOf(found, network.sizes[0], inColor, largest(found)));
}

function letGo() {
  stop();
  state.unit = null;
  $("unit").classList.remove("open");
  later();
}

function stop() { clearInterval(sliding); state.filledTo = Infinity; }

// The kernel goes over the map, which fills unit by unit.
function slide(layer, channel) {
  const [, height, width] = network.sizes[layer], last = height * width - 1, pace = Math.max(1, Math.round(last / 300));
  let at = -pace;
  stop();
  sliding = setInterval(() => {
    at = Math.min(last, at + pace);
    state.unit = { layer, channel, row: Math.floor(at / width), column: at % width }, state.filledTo = at;
    later();
    if (at === last) stop();
  }, 33);
}

// --- images, moments, keys and pointers

function thumbnail(images, n, [channels, height, width]) {
  const canvas = el("canvas", { width, height }), pixels = new ImageData(width, height), area = height * width;
  for (let i = 0; i < area; i++) {
    pixels.data.set([...[0, 1, 2].map((c) => images[(n * channels + (c % channels)) * area + i]), 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function buildExample(images, n) {
  const { labels, misses } = content.examples, isMissed = n >= labels.length - misses, label = labels[n];
  const canvas = thumbnail(images, n, network.sizes[0]), length = network.values[0].length;
  const border = input.pad_pixels, inner = input.size - 2 * border;
  const title = label === null ? "own picture" : `labeled ${classes[label]}${isMissed ? ", and missed" : ""}`;
  const button = el("button", { type: "button", title, "aria-label": title, className: isMissed ? "missed" : "" }, canvas);
  button.onclick = () => {
    Object.assign(paint, { imageSmoothingEnabled: false }).drawImage(canvas, border, border, inner, inner, 0, 0, 256, 256);
    take(image(input.channels, input.size, input.size, Float64Array.from(images.subarray(n * length, (n + 1) * length))), label, button);
  };
  return button;
}

async function read(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) { $("label").textContent = "this is no picture"; return; }
  const { width, height } = bitmap, pen = el("canvas", { width, height }).getContext("2d"), scale = 256 / Math.max(width, height);
  pen.fillStyle = "#fff", pen.fillRect(0, 0, width, height), pen.drawImage(bitmap, 0, 0);
  paint.fillStyle = "#000", paint.fillRect(0, 0, 256, 256), paint.imageSmoothingEnabled = true;
  paint.drawImage(pen.canvas, (256 - width * scale) / 2, (256 - height * scale) / 2, width * scale, height * scale);
  take(seen(levelsOf(pen, width, height), input));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const within = (at, side) => Math.min(side - 1, Math.max(0, at));

// Keys on a layer: Enter touches a unit, arrows go from unit to unit, Page Up and Down from map to map.
function keyOn(event, layer) {
  const [channels, height, width] = network.sizes[layer], [dx, dy] = ARROWS[event.key] ?? [0, 0];
  const own = state.unit?.layer === layer ? state.unit : null;
  const maps = { PageUp: -1, PageDown: 1 }[event.key] ?? (height * width === 1 ? dx + dy * views[layer - 1].columns : 0);
  if (event.key !== "Enter" && !(own && (dx || dy || maps))) return;
  const from = own ?? { channel: 0, row: height >> 1, column: width >> 1 };
  touch(layer, within(from.channel + maps, channels), within(from.row + dy, height), within(from.column + dx, width));
  event.preventDefault(), event.stopPropagation();
}

function keyAnywhere(event) {
  const arrow = ARROWS[event.key], from = state.cover ?? [input.size >> 1, input.size >> 1];
  if (event.key === "Escape") state.cover = null, letGo();
  if (!arrow || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, aside, #layers, .strip")) return;
  event.preventDefault();
  if (!event.shiftKey) return move(...arrow);
  state.cover = from.map((at, i) => within(at + 2 * arrow[i], input.size));
  later();
}

function move(dx, dy) {
  state.shift = dx || dy ? [state.shift[0] + dx, state.shift[1] + dy] : [0, 0];
  later();
}

let last = null;
function draw(event) {
  const box = pad.getBoundingClientRect(), between = event.getCoalescedEvents?.() ?? [];
  for (const one of between.length ? between : [event]) {
    const to = [(one.clientX - box.left) * 256 / box.width, (one.clientY - box.top) * 256 / box.height];
    paint.beginPath(), paint.moveTo(...(last ?? to)), paint.lineTo(...to), paint.stroke();
    last = to;
  }
  takePad();
}

function listen() {
  let paper = "#000000";
  const fill = () => { paint.fillStyle = paper, paint.fillRect(0, 0, 256, 256); }, over = (isOver) => pad.classList.toggle("over", isOver);
  const cover = (event) => { const at = seenView.at(event); state.cover = at && [at[2], at[1]], later(); };
  const readFirst = (files, event) => { if (files.length) event?.preventDefault(), read(files[0]); };
  Object.assign(paint, { lineWidth: 21, lineCap: "round", lineJoin: "round", strokeStyle: "#ffffff" });
  fill();

  pad.onpointerdown = (event) => { pad.setPointerCapture(event.pointerId), last = null, draw(event); };
  pad.onpointermove = (event) => { if (event.buttons && last) draw(event); };
  pad.onpointerup = pad.onpointercancel = () => { last = null; };
  $("clear").onclick = () => { fill(), takePad(); };
  $("invert").onclick = () => {
    Object.assign(paint, { globalCompositeOperation: "difference", fillStyle: "#fff" }).fillRect(0, 0, 256, 256);
    paint.globalCompositeOperation = "source-over";
    [paper, paint.strokeStyle] = paper === "#000000" ? ["#ffffff", "#000000"] : ["#000000", $("color").value];
    takePad();
  };
  $("color").oninput = () => { paint.strokeStyle = $("color").value; };
  $("file").onchange = () => readFirst($("file").files);
  document.ondragover = (event) => { event.preventDefault(), over(true); };
  document.ondragleave = () => over(false);
  document.ondrop = (event) => { event.preventDefault(), over(false), readFirst(event.dataTransfer.files, event); };
  document.onpaste = (event) => readFirst(event.clipboardData.files, event);
  document.onkeydown = keyAnywhere;

  $("seen").onpointerdown = (event) => { $("seen").setPointerCapture(event.pointerId), cover(event); };
  $("seen").onpointermove = (event) => { if (event.buttons) cover(event); };
  $("seen").onpointerup = $("seen").onpointercancel = () => { state.cover = null, later(); };
  for (const button of $("move").querySelectorAll("button")) button.onclick = () => move(...button.dataset.move.split(",").map(Number));
  $("close").onclick = letGo;
  $("moments").oninput = loadMoment;
  addEventListener("resize", arrange);
  theme.dark.addEventListener("change", arrange);
}

const loaded = {};
async function loadMoment() {
  const at = $("moments").value;
  $("moment").textContent = content.moments[at];
  loaded[at] ??= unpacked($(`weights-${at}`).textContent);
  const { buffer } = await loaded[at];
  if (at !== $("moments").value) return; // moved on meanwhile
  network.load(new Float32Array(buffer));
  later();
}

async function start() {
  $("model").textContent = content.model, $("about").textContent = content.about, $("pen").hidden = !inColor;
  Object.assign($("moments"), { max: content.moments.length - 1, value: content.moment });
  $("time").hidden = content.moments.length < 2;
  if (near) {
    near.images = await unpacked($("neighbor-images").textContent), near.vectors = await unpacked($("neighbor-vectors").textContent);
    $("nearest-title").textContent = `Nearest training images in ${names[near.layer]}`;
  }
  network.operations.forEach((op, i) => buildLayer(op, i + 1));
  const images = await unpacked($("example-images").textContent), { labels, misses } = content.examples;
  const order = [...spread(labels.length - misses, labels.length - 1), ...spread(0, labels.length - misses - 1)]; // the misses first
  $("examples").append(...order.map((n) => buildExample(images, n)));
  $("misses").hidden = !misses;
  listen(), arrange();
  await loadMoment();
  $("examples").querySelector("button:not(.missed)").click();
}
start();
