// What a touched unit computes, with its numbers. unit: { layer, channel, row, column }; values[layer] has it.

const indexOf = (size, [channel, row, column]) => (channel * size[1] + row) * size[2] + column;

const quiet = (text) => el("p", { className: "quiet" }, text);

function unitName(size, channel, row, column) {
  return size[1] * size[2] === 1 ? `unit ${channel}` : `map ${channel} · row ${row}, column ${column}`;
}

class Explanation {
  // go(layer, channel, row, column): touch another unit. names: of the layers, by number of values.
  constructor(network, names, classes, go) {
    Object.assign(this, { network, names, classes, go });
  }

  // The elements that explain a unit.
  of({ layer, channel, row, column }) {
    const op = this.network.operations[layer - 1], index = indexOf(op.size, [channel, row, column]);
    const x = this.network.values[layer - 1], y = this.network.values[layer][index];
    const last = layer === this.network.operations.length ? ` · ${this.classes[channel]}` : "";
    const lines = this[op.kind]?.(op, x, y, channel, row, column, layer) ?? this.same(op, x[index], y, index, layer, channel, row, column);
    return [
      el("h2", {}, `${op.name} · ${unitName(op.size, channel, row, column)}${last}`),
      el("p", { className: "value" }, number(y)), ...lines,
    ];
  }

  // A button that goes to a unit of an earlier layer.
  link(layer, channel, row, column) {
    const text = `${this.names[layer]} · ${unitName(this.network.sizes[layer], channel, row, column)}`;
    if (layer === 0) return el("span", {}, text);
    return el("button", { type: "button", onclick: () => this.go(layer, channel, row, column) }, text);
  }

  linkTo(layer, index) {
    const [, height, width] = this.network.sizes[layer];
    return this.link(layer, Math.floor(index / (height * width)), Math.floor(index / width) % height, index % width);
  }

  sum(parts, bias, total) {
    const text = parts.map((value, i) => `${i && value >= 0 ? " + " : i ? " − " : ""}${number(i ? Math.abs(value) : value)}`).join("");
    return el("p", { className: "sum" }, `${text}${bias < 0 ? " − " : " + "}bias ${number(Math.abs(bias))} = ${number(total)}`);
  }

  // A patch of one map, `null` beyond the edge.
  patch(op, x, source, row, column) {
    const values = Array(op.kernel ** 2).fill(null), area = op.inputs[1] * op.inputs[2];
    for (const [k, i] of windowAt(op, row, column)) values[k] = x[source * area + i];
    return values;
  }

  products(op, x, y, sources, kernelOf, bias, row, column, layer) {
    const each = sources.map((source) => {
      const patch = this.patch(op, x, source, row, column), kernel = kernelOf(source);
      return { source, patch, kernel, sum: patch.reduce((sum, value, k) => sum + (value ?? 0) * kernel[k], 0) };
    });
    each.sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
    const shown = each.slice(0, each.length > 6 ? 4 : 6), rest = each.slice(shown.length);
    const tops = [largest(each.flatMap((one) => one.patch)), largest(each.flatMap((one) => one.kernel))];
    const below = this.names[layer - 1], isOne = op.inputs[0] === 1;
    const rows = shown.map((one) => el("div", { className: "product" },
      el("p", {}, isOne ? `${below} × the kernel` : `${below}, map ${one.source} × its kernel`),
      numberGrid(one.patch, op.kernel, { top: tops[0] }), "×",
      numberGrid(one.kernel, op.kernel, { top: tops[1] }), `= ${number(one.sum)}`));
    const others = rest.reduce((sum, one) => sum + one.sum, 0), parts = shown.map((one) => one.sum);
    if (rest.length) rows.push(quiet(`${rest.length} other maps: ${number(others)}`));
    return [this.sum(rest.length ? [...parts, others] : parts, bias, y), ...rows];
  }

  conv(op, x, y, channel, row, column, layer) {
    const start = (source) => kernelStart(op, channel, source);
    const kernelOf = (source) => [...op.weight.subarray(start(source), start(source) + op.kernel ** 2)];
    const shared = op.size[1] * op.size[2];
    const slide = el("button", { type: "button", id: "slide" }, "Slide the kernel over the map");
    const lines = this.products(op, x, y, sourcesOf(op, channel), kernelOf, op.bias[channel], row, column, layer);
    if (shared === 1) return lines;
    const said = `The same kernels make all ${shared} units of this map, in steps of ${op.stride}.`;
    return [...lines, quiet(op.padding ? `${said} A dot is padding: it counts as 0.` : said), slide];
  }

  local(op, x, y, channel, row, column, layer) {
    const at = row * op.size[2] + column, K2 = op.kernel ** 2, first = (at * op.size[0] + channel) * op.inputs[0] * K2;
    const kernelOf = (source) => [...op.weight.subarray(first + source * K2, first + (source + 1) * K2)];
    const bias = op.bias[indexOf(op.size, [channel, row, column])], sources = [...Array(op.inputs[0]).keys()];
    return [...this.products(op, x, y, sources, kernelOf, bias, row, column, layer),
      quiet("Nothing is shared: every position has kernels of its own.")];
  }

  pooled(op, x, channel, row, column, marked, text) {
    const patch = numberGrid(this.patch(op, x, channel, row, column), op.kernel, { marked });
    return [el("p", { className: "sum" }, text), el("div", { className: "product" }, patch)];
  }

  max_pool(op, x, y, channel, row, column, layer) {
    const patch = this.patch(op, x, channel, row, column), best = patch.indexOf(y), width = op.inputs[2];
    const from = [row * op.stride - op.padding + Math.floor(best / op.kernel), column * op.stride - op.padding + best % op.kernel];
    const lines = this.pooled(op, x, channel, row, column, best, `The largest of ${patch.filter((v) => v !== null).length} wins:`);
    return [...lines, this.link(layer - 1, channel, ...from)];
  }

  average_pool(op, x, y, channel, row, column) {
    const by = divisor(op, windowAt(op, row, column).length, row, column);
    return this.pooled(op, x, channel, row, column, -1, `The mean: their sum, ${number(y * by)}, divided by ${by}.`);
  }

  subsample(op, x, y, channel, row, column) {
    const sum = this.patch(op, x, channel, row, column).reduce((a, b) => a + b, 0), [w, b] = [op.weight[channel], op.bias[channel]];
    const said = op.kernel > 1 ? "The sum of the four, " : "The scale and the shift of this map: ";
    return this.pooled(op, x, channel, row, column, -1, `${said}${number(sum)} × ${number(w)} + ${number(b)} = ${number(y)}`);
  }

  fc(op, x, y, channel, row, column, layer) {
    const [input, weight, each] = KINDS.fc.start(op, channel), origin = this.origin(layer - 1);
    const parts = spread(0, each - 1).map((i) => ({ i: input + i, x: x[input + i], w: op.weight[weight + i] }));
    for (const one of parts) one.sum = one.x * one.w;
    const lines = [];
    if (origin === 0) lines.push(...this.template(op, parts));
    parts.sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
    const few = parts.slice(0, 8), others = parts.slice(8).reduce((sum, one) => sum + one.sum, 0);
    const rows = few.map((one) => el("tr", {}, el("td", {}, this.linkTo(origin, one.i)),
      el("td", {}, `${number(one.x)} × ${number(one.w)}`), el("td", {}, `= ${number(one.sum)}`)));
    return [this.sum([few.reduce((sum, one) => sum + one.sum, 0), others], op.bias[channel], y),
      quiet(`The strongest ${few.length} of ${each} inputs make the first number, the others the second.`), ...lines,
      el("table", { className: "inputs" }, ...rows)];
  }

  // The weights of a unit that sees the pixels, as a picture, and what they make of this one.
  template(op, parts) {
    const size = this.network.sizes[0], inColor = size[0] === 3;
    return [["its weights as a picture", "w"], ["times the picture", "sum"]].map(([text, name]) => {
      const view = new MapView(el("canvas", { role: "img", "aria-label": text }), size, inColor), values = parts.map((one) => one[name]);
      view.arrange(290, 128);
      view.paint(colorsOf(values, size, inColor, largest(values)));
      return el("figure", {}, view.canvas, el("figcaption", {}, text));
    });
  }

  // The layer whose units these are, before flattening and dropout.
  origin(layer) {
    while (layer > 0 && ["flatten", "factor"].includes(this.network.operations[layer - 1].kind)) layer--;
    return layer;
  }

  rbf(op, x, y, channel, row, column) {
    const bitmap = [...op.weight.subarray(channel * x.length, (channel + 1) * x.length)];
    const apart = bitmap.map((value, i) => (x[i] - value) ** 2);
    const grids = [[...x], bitmap, apart].map((values) => numberGrid(values, 7, { top: 1.7, cell: 12 }));
    return [el("p", { className: "sum" }, `The squared distance of F6 to this class's bitmap is ${number(-y)}; its negative is the score.`),
      el("div", { className: "product" }, el("p", {}, "F6 · the bitmap · their squared differences"), ...grids)];
  }

  // A unit that is computed from the same unit of the layer below.
  same(op, x, y, index, layer, channel, row, column) {
    const area = op.size[1] * op.size[2], at = index % area, values = this.network.values[layer - 1];
    const response = (sum) => `${number(x)} / ${number(sum(op, values, channel, at))}^${op.beta}: divided by what its neighbors do.`;
    const said = {
      relu: () => `max(0, ${number(x)}) = ${number(y)}`,
      tanh: () => (op.amplitude === 1 ? `tanh(${number(x)})` : `${op.amplitude} · tanh(⅔ · ${number(x)})`) + ` = ${number(y)}`,
      sigmoid: () => `1 / (1 + e^(${number(-x)})) = ${number(y)}`,
      factor: () => `Dropout at test time: ${number(x)} × ${op.factor} = ${number(y)}`,
      flatten: () => "The same number, in one long row.",
      norm_across_maps: () => response(responseSum),
      norm_within_map: () => response(patchSum),
    }[op.kind]();
    const below = op.kind === "flatten" ? this.linkTo(layer - 1, index) : this.link(layer - 1, channel, row, column);
    return [el("p", { className: "sum" }, said), below];
  }
}
