// The page: the picture from the pad to the network, and everything that answers to it.

const content = JSON.parse($("content").textContent), { input, classes } = content;
const network = new Network(content.operations, [input.channels, input.size, input.size]);
const names = ["the picture", ...content.operations.map((op) => op.name)];
const inColor = input.channels === 3, pad = $("pad"), paint = pad.getContext("2d", { willReadFrequently: true });

// picture: as drawn or dropped; levels: what the network sees of it, before it is moved and covered.
const state = { picture: null, levels: null, shift: [0, 0], cover: null, unit: null, truth: null, upTo: null };

// --- from the pad to the network

function picturesOf(pen, width, height) {
  const { data } = pen.getImageData(0, 0, width, height), area = width * height, levels = new Float64Array(3 * area);
  for (let i = 0; i < area; i++) for (let c = 0; c < 3; c++) levels[c * area + i] = data[4 * i + c];
  return image(3, height, width, levels);
}

function take(levels, truth = null, pressed = null) {
  Object.assign(state, { levels, truth, shift: [0, 0], cover: null });
  for (const button of $("examples").children) button.setAttribute("aria-pressed", button === pressed);
  later();
}

const takePad = () => take(seen(picturesOf(paint, 256, 256), input));

// What the network gets: moved by whole pixels, black behind it, a gray square where it is covered.
function shown() {
  const { levels, shift: [dx, dy], cover } = state, side = input.size, moved = place(levels, side, side, dy, dx);
  if (cover) {
    const size = coverSize(), [left, top] = cover.map((center) => center - Math.floor(size / 2));
    for (let y = Math.max(0, top); y < Math.min(side, top + size); y++) {
      for (let x = Math.max(0, left); x < Math.min(side, left + size); x++) {
        for (let c = 0; c < input.channels; c++) moved.data[(c * side + y) * side + x] = 128;
      }
    }
  }
  return moved;
}

const coverSize = () => Math.max(1, Math.round(input.size / 5));

let waiting = false;
function later() {
  if (waiting || !state.levels) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; answer(); });
}

function answer() {
  const picture = shown(), scores = network.run(normalized(picture, input));
  paintAll(picture);
  showScores(scores);
  showNearest();
  showUnit();
}

// --- the maps

const seenView = new MapView($("seen"), network.sizes[0], true), projection = new MapView($("projection"), network.sizes[0], inColor);
const views = [];

const WORDS = { conv: "convolution", local: "locally connected", fc: "fully connected", max_pool: "max pooling", average_pool: "mean pooling",
  subsample: "subsampling", norm_across_maps: "normalization across maps", norm_within_map: "normalization within a map", scale: "batch normalization",
  relu: "ReLU", tanh: "tanh", sigmoid: "sigmoid", factor: "dropout", flatten: "flatten", rbf: "distances to bitmaps" };

function describe(op) {
  const [channels, height, width] = op.size, maps = height * width > 1 ? `${channels} × ${height} × ${width}` : `${channels} units`;
  const window = op.kernel ? ` ${op.kernel}×${op.kernel}, stride ${op.stride}${op.padding ? `, padding ${op.padding}` : ""}` : "";
  const groups = op.groups > 1 ? `, ${op.groups} groups` : "", weights = op.numbers ? ` · ${op.numbers.toLocaleString("en")} parameters` : "";
  return `${WORDS[op.kind]}${window}${groups} · ${maps}${weights} · sees ${op.field}×${op.field} pixels`;
}

function buildLayers() {
  network.operations.forEach((op, i) => {
    const title = `${op.name}, ${describe(op)}`, canvas = el("canvas", { tabIndex: 0, role: "img", "aria-label": title });
    const section = el("div", { className: "layer" }, el("h3", {}, op.name), el("span", { className: "facts" }, describe(op)),
      el("p", { className: "formula" }, op.formulas.filter(Boolean).join(" · ")), canvas);
    const view = new MapView(canvas, op.size);
    Object.assign(view, { section, layer: i + 1 });
    canvas.onclick = (event) => { const unit = view.at(event); if (unit) touch(i + 1, ...unit); };
    canvas.onkeydown = (event) => keyOn(event, i + 1);
    if (op.kind === "rbf") {
      const columns = op.inputs[0] === 84 ? 7 : Math.ceil(Math.sqrt(op.inputs[0]));
      view.bitmaps = new MapView(el("canvas", { role: "img", "aria-label": "F6, then the bitmap of each class" }), [op.size[0] + 1, op.inputs[0] / columns, columns]);
      view.bitmaps.canvas.onclick = (event) => { const at = view.bitmaps.at(event); if (at?.[0]) touch(i + 1, at[0] - 1, 0, 0); };
      section.append(el("p", { className: "formula" }, "F6 as a picture, and the bitmap that each class compares it with"), view.bitmaps.canvas);
    }
    $("layers").append(section);
    views.push(view);
    watcher.observe(section);
  });
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) views.find((view) => view.section === target).visible = isIntersecting;
  later();
}, { rootMargin: "100px" });

function arrange() {
  readTheme();
  const room = $("layers").clientWidth - 32;
  for (const view of views) {
    const [channels, height, width] = view.size, isVector = height * width === 1;
    const side = isVector ? (channels <= 16 ? 24 : channels <= 256 ? 13 : 6) : channels <= 8 ? 76 : channels <= 32 ? 52 : 34;
    view.arrange(room, side, isVector && channels === 84 ? 28 : 0);
    view.bitmaps?.arrange(room, 42);
  }
  seenView.arrange(140, 132), projection.arrange(290, 200);
  later();
}

function paintAll(picture) {
  const { unit } = state, trail = unit && network.trail(unit.layer, unit.channel, unit.row, unit.column);
  const area = input.size ** 2;
  seenView.paint((i) => [0, 1, 2].map((c) => picture.data[(c % input.channels) * area + i]));
  if (trail) seenView.frame(trail[0], 2);
  for (const view of views) {
    view.section.classList.toggle("lit", unit?.layer === view.layer);
    if (!view.visible) continue;
    const values = network.values[view.layer], color = colorsOf(values, view.size, false, largest(values));
    const [, height, width] = view.size, hidden = state.upTo !== null && unit?.layer === view.layer ? state.upTo : Infinity;
    view.paint((i) => (i - unit?.channel * height * width > hidden && i < (unit.channel + 1) * height * width ? theme.zeroRgb : color(i)));
    if (trail && view.layer <= unit.layer) view.frame(trail[view.layer], view.layer === unit.layer ? 2.5 : 1.5);
    if (view.bitmaps) view.bitmaps.paint(bitmapColors(view.layer));
  }
}

function bitmapColors(layer) {
  const units = network.values[layer - 1], { weight } = network.operations[layer - 1];
  return (i) => mixed((i < units.length ? units[i] : weight[i - units.length]) / 1.7);
}

// --- the answer

const many = classes.length > 12, rows = [];
function buildBars() {
  for (let i = 0; i < Math.min(classes.length, many ? 10 : 12); i++) {
    const [name, fill, share] = [el("span", { className: "name" }), el("div", { className: "fill" }), el("span", { className: "share" })];
    rows.push({ name, fill, share, row: el("div", { className: "row" }, name, el("div", { className: "track" }, fill), share) });
    $("bars").append(rows[i].row);
  }
}

let speaking;
function showScores(scores) {
  const chances = softmax(scores), order = chances.map((_, k) => k).sort((a, b) => chances[b] - chances[a]), best = order[0];
  rows.forEach(({ name, fill, share, row }, i) => {
    const k = many ? order[i] : i;
    name.textContent = name.title = classes[k], share.textContent = `${(100 * chances[k]).toFixed(1)} %`;
    share.title = `score ${number(scores[k])}`, fill.style.width = `${100 * chances[k]}%`;
    row.className = `row${k === best ? " best" : ""}${k === state.truth ? " true" : ""}`;
  });
  $("label").textContent = state.truth === null ? "" : `labeled ${classes[state.truth]}`;
  const [dx, dy] = state.shift, words = [dx && `${Math.abs(dx)} ${dx > 0 ? "right" : "left"}`, dy && `${Math.abs(dy)} ${dy > 0 ? "down" : "up"}`].filter(Boolean);
  $("moved").textContent = words.length ? `moved ${words.join(", ")}` : "";
  seenView.canvas.setAttribute("aria-label", `What the network sees, ${input.size} by ${input.size} pixels. Arrow keys move it, with Shift a gray square that covers it.`);
  clearTimeout(speaking);
  speaking = setTimeout(() => { $("said").textContent = `The answer is ${classes[best]}, ${(100 * chances[best]).toFixed(0)} percent.`; }, 700);
}

const near = content.neighbors;
function showNearest() {
  $("nearest").hidden = !near || Number($("moments").value) !== content.moment;
  if ($("nearest").hidden) return;
  const units = network.values[near.layer], step = (near.high - near.low) / 255 || 1;
  const distances = near.labels.map((_, n) => {
    let sum = 0;
    for (let i = 0; i < units.length; i++) sum += (units[i] - near.low - step * near.vectors[n * units.length + i]) ** 2;
    return Math.sqrt(sum);
  });
  const order = distances.map((_, n) => n).sort((a, b) => distances[a] - distances[b]).slice(0, 5);
  $("neighbors").replaceChildren(...order.map((n) => el("figure", {}, thumbnail(near.images, n, near.size),
    el("figcaption", { title: `distance ${number(distances[n])}` }, classes[near.labels[n]]))));
}

// --- a touched unit

const explanation = new Explanation(network, names, classes, (...unit) => touch(...unit));
function touch(layer, channel, row, column) {
  stop();
  state.unit = { layer, channel, row, column };
  $("unit").classList.add("open");
  later();
}

function showUnit() {
  const { unit } = state;
  $("close").hidden = $("back").hidden = !unit;
  if (!unit || !$("unit").classList.contains("open")) return;
  $("explained").replaceChildren(...explanation.of(unit));
  if ($("slide")) $("slide").onclick = () => slide(unit.layer, unit.channel);
  const size = network.sizes[unit.layer], found = network.project(unit.layer, indexOf(size, [unit.channel, unit.row, unit.column]));
  projection.paint(colorsOf(found, network.sizes[0], inColor, largest(found)));
}

function letGo() {
  stop();
  state.unit = null;
  $("unit").classList.remove("open");
  $("explained").replaceChildren(...hints);
  later();
}

let sliding;
const stop = () => { clearInterval(sliding); state.upTo = null; };
// The kernel goes over the map, which fills unit by unit.
function slide(layer, channel) {
  stop();
  const [, height, width] = network.sizes[layer], pace = Math.max(1, Math.round(height * width / 300));
  let at = 0;
  sliding = setInterval(() => {
    state.unit = { layer, channel, row: Math.floor(at / width), column: at % width }, state.upTo = at;
    later();
    if (at === height * width - 1) return stop();
    at = Math.min(height * width - 1, at + pace);
  }, 33);
}

// --- images, moments, keys and pointers

function thumbnail(images, n, [channels, height, width]) {
  const canvas = el("canvas", { width, height }), pixels = new ImageData(width, height), area = height * width;
  for (let i = 0; i < area; i++) pixels.data.set([0, 1, 2].map((c) => images[(n * channels + (c % channels)) * area + i]).concat(255), 4 * i);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function buildExamples(images) {
  const { labels, misses } = content.examples, length = input.channels * input.size ** 2, first = labels.length - misses;
  const order = [...labels.keys()].map((i) => (i + first) % labels.length); // the misses first
  for (const n of misses ? order : labels.keys()) {
    const picture = thumbnail(images, n, network.sizes[0]), missed = n >= first;
    const title = labels[n] === null ? "own picture" : `labeled ${classes[labels[n]]}${missed ? ", and missed" : ""}`;
    const button = el("button", { type: "button", title, "aria-label": title, className: missed ? "missed" : "" }, picture);
    button.onclick = () => {
      const border = input.pad_pixels, side = input.size - 2 * border;
      paint.imageSmoothingEnabled = false, paint.drawImage(picture, border, border, side, side, 0, 0, 256, 256), paint.imageSmoothingEnabled = true;
      take(image(input.channels, input.size, input.size, Float64Array.from(images.subarray(n * length, (n + 1) * length))), labels[n], button);
    };
    $("examples").append(button);
  }
}

async function readPicture(file) {
  const bitmap = await createImageBitmap(file), { width, height } = bitmap, canvas = el("canvas", { width, height });
  const pen = canvas.getContext("2d"), scale = 256 / Math.max(width, height);
  pen.fillStyle = "#fff", pen.fillRect(0, 0, width, height), pen.drawImage(bitmap, 0, 0);
  clearPad();
  paint.drawImage(canvas, (256 - width * scale) / 2, (256 - height * scale) / 2, width * scale, height * scale);
  take(seen(picturesOf(pen, width, height), input));
}
const read = (file) => readPicture(file).catch(() => { $("label").textContent = "this is no picture"; });

function clearPad() { paint.fillStyle = "#000", paint.fillRect(0, 0, 256, 256); }

function move(dx, dy) {
  state.shift = dx || dy ? [state.shift[0] + dx, state.shift[1] + dy] : [0, 0];
  later();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Keys on a layer: from unit to unit, and from map to map.
function keyOn(event, layer) {
  const [channels, height, width] = network.sizes[layer], [dx, dy] = ARROWS[event.key] ?? [0, 0];
  const maps = { PageUp: -1, PageDown: 1 }[event.key] ?? (height * width === 1 ? dx + dy * views[layer - 1].columns : 0);
  const own = state.unit?.layer === layer ? state.unit : null;
  if (!(dx || dy || maps || ["Enter", " "].includes(event.key)) || (!own && (dx || dy))) return;
  const within = (at, side) => Math.min(side - 1, Math.max(0, at)), from = own ?? { channel: 0, row: height >> 1, column: width >> 1 };
  touch(layer, within(from.channel + maps, channels), within(from.row + dy, height), within(from.column + dx, width));
  event.preventDefault(), event.stopPropagation();
}

function keyAnywhere(event) {
  if (event.key === "Escape") return letGo(), state.cover = null, later();
  const arrow = ARROWS[event.key];
  if (!arrow || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, aside, #layers, .strip")) return;
  event.preventDefault();
  if (!event.shiftKey) return move(...arrow);
  const from = state.cover ?? [input.size >> 1, input.size >> 1];
  state.cover = from.map((at, i) => Math.min(input.size - 1, Math.max(0, at + 2 * arrow[i])));
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

function coverAt(event) {
  const unit = seenView.at(event);
  state.cover = unit && [unit[2], unit[1]];
  later();
}

function listen() {
  Object.assign(paint, { lineWidth: 21, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  let isInverted = false;
  pad.onpointerdown = (event) => { pad.setPointerCapture(event.pointerId); last = null; draw(event); };
  pad.onpointermove = (event) => { if (event.buttons && last) draw(event); };
  pad.onpointerup = pad.onpointercancel = () => { last = null; };
  $("clear").onclick = () => { paint.fillStyle = isInverted ? "#fff" : "#000"; paint.fillRect(0, 0, 256, 256); takePad(); };
  $("invert").onclick = () => {
    isInverted = !isInverted;
    paint.globalCompositeOperation = "difference", paint.fillStyle = "#fff", paint.fillRect(0, 0, 256, 256);
    paint.globalCompositeOperation = "source-over", paint.strokeStyle = isInverted ? "#000" : $("color").value;
    takePad();
  };
  $("color").oninput = () => { paint.strokeStyle = $("color").value; };
  $("file").onchange = () => { if ($("file").files.length) read($("file").files[0]); };
  document.ondragover = (event) => { event.preventDefault(); pad.classList.add("over"); };
  document.ondragleave = () => pad.classList.remove("over");
  document.ondrop = (event) => { event.preventDefault(); pad.classList.remove("over"); if (event.dataTransfer.files.length) read(event.dataTransfer.files[0]); };
  document.onpaste = (event) => { if (event.clipboardData.files.length) read(event.clipboardData.files[0]); };
  document.onkeydown = keyAnywhere;
  $("seen").onpointerdown = (event) => { $("seen").setPointerCapture(event.pointerId); coverAt(event); };
  $("seen").onpointermove = (event) => { if (event.buttons) coverAt(event); };
  $("seen").onpointerup = () => { state.cover = null; later(); };
  for (const button of $("move").querySelectorAll("button")) button.onclick = () => move(...button.dataset.move.split(",").map(Number));
  $("close").onclick = letGo;
  $("moments").oninput = loadMoment;
  addEventListener("resize", arrange);
  theme.dark.addEventListener("change", arrange);
}

const loaded = new Map();
async function loadMoment() {
  const at = $("moments").value, block = $(`weights-${at}`);
  $("moment").textContent = content.moments[at];
  if (!loaded.has(at)) loaded.set(at, unpacked(block.textContent).then((bytes) => new Float32Array(bytes.buffer)));
  const weights = await loaded.get(at);
  if (at !== $("moments").value) return;
  network.load(weights);
  later();
}

const hints = [...$("explained").children];
async function start() {
  $("model").textContent = content.model, $("about").textContent = content.title, $("pen").hidden = !inColor;
  Object.assign($("moments"), { max: content.moments.length - 1, value: content.moment });
  $("time").hidden = content.moments.length < 2;
  const block = (id) => ($(id) ? unpacked($(id).textContent) : null);
  if (near) [near.images, near.vectors] = await Promise.all([block("neighbor-images"), block("neighbor-vectors")]);
  buildLayers(), buildBars(), buildExamples(await block("example-images")), listen(), clearPad(), arrange();
  await loadMoment();
  $("examples").querySelector("button:not(.missed)").click();
}
start();
