// The network: a list of operations, one per layer, over maps in plain arrays [channel][row][column].
//
// values[0] is the input and values[i + 1] what operation i makes of values[i]. Each kind of operation
// has `forward`, `backward` (a signal from its output to its input; by the deconvnet's rules), and
// `sees` (which part of its input a part of its output depends on). op.inputs is the size of the
// input, op.size that of the output; x and y are their values, dx and dy the signals at them.

// The first and last position along one side at which entry k of a window lies on the map.
function range(op, k, inside, outside) {
  const offset = k * op.dilation - op.padding;
  const last = Math.floor((inside - 1 - offset) / op.stride);
  return [Math.max(0, Math.ceil(-offset / op.stride)), Math.min(outside - 1, last)];
}

// Calls visit(weight index, first output, first input, count) for each run of a convolution.
function eachRun(op, channel, source, visit) {
  const [, height, width] = op.inputs, [, rows, columns] = op.size, K = op.kernel;
  for (let ky = 0; ky < K; ky++) {
    const [top, bottom] = range(op, ky, height, rows);
    for (let kx = 0; kx < K; kx++) {
      const [left, right] = range(op, kx, width, columns);
      if (right < left) continue;
      for (let row = top; row <= bottom; row++) {
        const y = row * op.stride + ky * op.dilation - op.padding;
        const x = left * op.stride + kx * op.dilation - op.padding;
        const output = (channel * rows + row) * columns + left;
        visit(ky * K + kx, output, (source * height + y) * width + x, right - left + 1);
      }
    }
  }
}

// The input maps that a map of a convolution is connected with.
function sourcesOf(op, channel) {
  if (op.connections) return op.connections[channel];
  const each = op.inputs[0] / op.groups, group = Math.floor(channel / (op.size[0] / op.groups));
  return spread(group * each, (group + 1) * each - 1);
}

// Where the kernel of an output map for one of its input maps begins in the weights.
function kernelStart(op, channel, source) {
  const each = op.inputs[0] / op.groups;
  return (channel * each + (source % each)) * op.kernel ** 2;
}

// The entries of a window that lie on the map: [entry, index in the map], row by row.
function windowAt(op, row, column) {
  const [, height, width] = op.inputs, found = [];
  for (let ky = 0; ky < op.kernel; ky++) {
    for (let kx = 0; kx < op.kernel; kx++) {
      const y = row * op.stride - op.padding + ky * op.dilation;
      const x = column * op.stride - op.padding + kx * op.dilation;
      if (y >= 0 && y < height && x >= 0 && x < width) found.push([ky * op.kernel + kx, y * width + x]);
    }
  }
  return found;
}

// Pooling: each unit is a weighted sum of some inputs of its window. taken(...): those as [index, weight].
function pooling(taken) {
  const each = (op, x, visit) => {
    const [channels, rows, columns] = op.size, area = op.inputs[1] * op.inputs[2];
    for (let at = 0; at < rows * columns; at++) {
      const window = windowAt(op, Math.floor(at / columns), at % columns);
      for (let c = 0; c < channels; c++) {
        visit(c * rows * columns + at, taken(op, x, window.map(([, i]) => c * area + i), c, Math.floor(at / columns), at % columns), c);
      }
    }
  };
  return {
    forward(op, x, y) { each(op, x, (at, inputs, c) => { y[at] = inputs.reduce((sum, [i, w]) => sum + w * x[i], op.bias?.[c] ?? 0); }); },
    // Where windows overlap, one input can be taken several times; its signals add.
    backward(op, x, y, dy, dx) { each(op, x, (at, inputs) => { for (const [i, w] of inputs) dx[i] += w * dy[at]; }); },
    sees: (op, part) => under(op, part, part.channels),
  };
}

// By how many a unit of mean pooling divides: padding counts or not, what is beyond it never.
function divisor(op, inside, row, column) {
  if (!op.counts_padding) return inside;
  const side = (at, size) => Math.min(op.kernel, size + 2 * op.padding - at * op.stride);
  return side(row, op.inputs[1]) * side(column, op.inputs[2]);
}

// The first and the last map in whose company a map is normalized: of its own group.
function neighborsOf(op, c) {
  const each = op.size[0] / op.groups, group = Math.floor(c / each);
  return [Math.max(group * each, c - op.reach), Math.min((group + 1) * each - 1, c + op.reach)];
}

// The divisor of response normalization, before the power, of unit i in map c.
function responseSum(op, x, c, i) {
  const area = op.size[1] * op.size[2], [first, last] = neighborsOf(op, c);
  let sum = 0;
  for (let j = first; j <= last; j++) sum += x[j * area + i] ** 2;
  return op.k + op.alpha * sum;
}

function patchSum(op, x, c, i) {
  const area = op.size[1] * op.size[2], window = windowAt(op, Math.floor(i / op.size[2]), i % op.size[2]);
  return op.k + op.alpha * window.reduce((sum, [, j]) => sum + x[c * area + j] ** 2, 0);
}

const spread = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const allOf = (size) => ({ channels: new Set(spread(0, size[0] - 1)), top: 0, left: 0, bottom: size[1] - 1, right: size[2] - 1 });

// The part of the input below a part of the output, for layers with a window.
function under(op, part, channels) {
  const first = (at) => Math.max(0, at * op.stride - op.padding);
  const last = (at, side) => Math.min(side - 1, at * op.stride - op.padding + (op.kernel - 1) * op.dilation);
  const [top, left, bottom, right] = [first(part.top), first(part.left), last(part.bottom, op.inputs[1]), last(part.right, op.inputs[2])];
  return { channels, top, left, bottom, right };
}

// A layer that computes each unit from the same unit below; slope(y, op) for the way back.
function elementwise(value, back) {
  return {
    forward(op, x, y) { for (let i = 0; i < x.length; i++) y[i] = value(x[i], op); },
    backward(op, x, y, dy, dx) { for (let i = 0; i < dx.length; i++) dx[i] = back(dy[i], y[i], op); },
    sees: (op, part) => part,
  };
}

function normalization(divisorOf, sees) {
  return {
    forward(op, x, y) {
      const area = op.size[1] * op.size[2];
      for (let i = 0; i < y.length; i++) {
        y[i] = x[i] / Math.pow(divisorOf(op, x, Math.floor(i / area), i % area), op.beta);
      }
    },
    backward(op, x, y, dy, dx) { dx.set(dy); },
    sees,
  };
}

const KINDS = {
  conv: {
    forward(op, x, y) {
      const area = op.size[1] * op.size[2], sums = new Float64Array(area);
      for (let channel = 0; channel < op.size[0]; channel++) {
        sums.fill(op.bias[channel]);
        for (const source of sourcesOf(op, channel)) {
          const kernel = kernelStart(op, channel, source), stride = op.stride;
          eachRun(op, 0, source, (k, output, input, count) => {
            const weight = op.weight[kernel + k];
            for (let i = 0; i < count; i++) sums[output + i] += weight * x[input + i * stride];
          });
        }
        y.set(sums, channel * area);
      }
    },
    backward(op, x, y, dy, dx) {
      const area = op.size[1] * op.size[2];
      for (let channel = 0; channel < op.size[0]; channel++) {
        if (!dy.subarray(channel * area, (channel + 1) * area).some(Boolean)) continue;
        for (const source of sourcesOf(op, channel)) {
          const kernel = kernelStart(op, channel, source), stride = op.stride;
          eachRun(op, channel, source, (k, output, input, count) => {
            const weight = op.weight[kernel + k];
            for (let i = 0; i < count; i++) dx[input + i * stride] += weight * dy[output + i];
          });
        }
      }
    },
    sees: (op, part) => under(op, part, new Set([...part.channels].flatMap((c) => sourcesOf(op, c)))),
  },

  // A convolution without weight sharing: the kernels of each position follow one another.
  local: {
    each(op, visit) {
      const [channels, rows, columns] = op.size, sources = op.inputs[0], K2 = op.kernel ** 2;
      const area = op.inputs[1] * op.inputs[2];
      for (let at = 0; at < rows * columns; at++) {
        const window = windowAt(op, Math.floor(at / columns), at % columns);
        for (let c = 0; c < channels; c++) visit(c * rows * columns + at, ((at * channels + c) * sources) * K2, window, area, K2);
      }
    },
    forward(op, x, y) {
      this.each(op, (output, first, window, area, K2) => {
        let sum = op.bias[output];
        for (let s = 0; s < op.inputs[0]; s++) {
          for (const [k, i] of window) sum += op.weight[first + s * K2 + k] * x[s * area + i];
        }
        y[output] = sum;
      });
    },
    backward(op, x, y, dy, dx) {
      this.each(op, (output, first, window, area, K2) => {
        if (!dy[output]) return;
        for (let s = 0; s < op.inputs[0]; s++) {
          for (const [k, i] of window) dx[s * area + i] += op.weight[first + s * K2 + k] * dy[output];
        }
      });
    },
    sees: (op, part) => under(op, part, allOf(op.inputs).channels),
  },

  max_pool: pooling((op, x, inputs) => [[inputs.reduce((best, i) => (x[i] > x[best] ? i : best)), 1]]),
  average_pool: pooling((op, x, inputs, c, row, column) => inputs.map((i) => [i, 1 / divisor(op, inputs.length, row, column)])),
  // LeNet-5 of 1998: the sum of four, times a weight, plus a bias; and batch normalization, of one.
  subsample: pooling((op, x, inputs, c) => inputs.map((i) => [i, op.weight[c]])),

  norm_across_maps: normalization(responseSum, (op, part) => {
    const channels = [...part.channels].flatMap((c) => { const [first, last] = neighborsOf(op, c); return spread(first, last); });
    return { ...part, channels: new Set(channels) };
  }),
  norm_within_map: normalization(patchSum, (op, part) => under(op, part, part.channels)),

  // The deconvnet passes back what is positive, whatever came forward.
  relu: elementwise((x) => Math.max(0, x), (dy) => Math.max(0, dy)),
  tanh: elementwise(
    (x, op) => op.amplitude * Math.tanh(op.slope * x),
    (dy, y, op) => dy * op.slope * (op.amplitude - y * y / op.amplitude),
  ),
  sigmoid: elementwise((x) => 1 / (1 + Math.exp(-x)), (dy, y) => dy * y * (1 - y)),
  factor: elementwise((x, op) => x * op.factor, (dy, y, op) => dy * op.factor),

  flatten: {
    ...elementwise((x) => x, (dy) => dy),
    sees(op, part) {
      const [, height, width] = op.inputs, found = { channels: new Set(), top: height, left: width, bottom: 0, right: 0 };
      for (const unit of part.channels) {
        const row = Math.floor(unit / width) % height, column = unit % width;
        found.channels.add(Math.floor(unit / (height * width)));
        found.top = Math.min(found.top, row), found.bottom = Math.max(found.bottom, row);
        found.left = Math.min(found.left, column), found.right = Math.max(found.right, column);
      }
      return found;
    },
  },

  fc: {
    // The first input and the first weight of a unit; in groups each sees its own part of the inputs.
    start(op, unit) {
      const each = op.inputs[0] / op.groups;
      return [Math.floor(unit / (op.size[0] / op.groups)) * each, unit * each, each];
    },
    forward(op, x, y) {
      for (let unit = 0; unit < op.size[0]; unit++) {
        const [input, weight, each] = this.start(op, unit);
        let sum = op.bias[unit];
        for (let i = 0; i < each; i++) sum += op.weight[weight + i] * x[input + i];
        y[unit] = sum;
      }
    },
    backward(op, x, y, dy, dx) {
      for (let unit = 0; unit < op.size[0]; unit++) {
        if (!dy[unit]) continue;
        const [input, weight, each] = this.start(op, unit);
        for (let i = 0; i < each; i++) dx[input + i] += op.weight[weight + i] * dy[unit];
      }
    },
    sees(op, part) {
      if (op.groups === 1) return allOf(op.inputs);
      const firsts = new Set([...part.channels].map((unit) => this.start(op, unit)[0])), each = op.inputs[0] / op.groups;
      return { ...allOf(op.inputs), channels: new Set([...firsts].flatMap((first) => spread(first, first + each - 1))) };
    },
  },

  // Minus the squared distance of F6 to the bitmap of a class.
  rbf: {
    forward(op, x, y) {
      for (let unit = 0; unit < y.length; unit++) {
        let sum = 0;
        for (let i = 0; i < x.length; i++) sum += (x[i] - op.weight[unit * x.length + i]) ** 2;
        y[unit] = -sum;
      }
    },
    backward(op, x, y, dy, dx) {
      for (let unit = 0; unit < y.length; unit++) {
        for (let i = 0; i < dx.length; i++) dx[i] += 2 * dy[unit] * (op.weight[unit * x.length + i] - x[i]);
      }
    },
    sees: (op) => allOf(op.inputs),
  },
};

class Network {
  // inputSize: [C, H, W] of the images.
  constructor(operations, inputSize) {
    this.sizes = [inputSize, ...operations.map((op) => op.size)];
    this.operations = operations.map((op, i) => ({ ...op, inputs: this.sizes[i], places: op }));
    this.values = this.sizes.map(([c, h, w]) => new Float32Array(c * h * w));
  }

  // Take the weights of one checkpoint: all of them in one array, in which each has its place.
  load(weights) {
    for (const op of this.operations) {
      for (const name of ["weight", "bias"].filter((name) => op.places[name])) {
        const [first, length] = op.places[name];
        op[name] = weights.subarray(first, first + length);
      }
    }
  }

  // Compute all layers for the input; returns the scores.
  run(input) {
    this.values[0].set(input);
    this.operations.forEach((op, i) => KINDS[op.kind].forward(op, this.values[i], this.values[i + 1]));
    return this.values.at(-1);
  }

  // What each layer contributes to one unit: parts of values[0] to values[layer], the unit's own last.
  trail(layer, channel, row, column) {
    const parts = [{ channels: new Set([channel]), top: row, left: column, bottom: row, right: column }];
    for (let i = layer - 1; i >= 0; i--) parts.unshift(KINDS[this.operations[i].kind].sees(this.operations[i], parts[0]));
    return parts;
  }

  // The deconvnet's projection of unit `index` of values[layer] to the input (Zeiler and Fergus, 2014).
  project(layer, index) {
    let signal = new Float32Array(this.values[layer].length);
    signal[index] = 1;
    for (let i = layer - 1; i >= 0; i--) {
      const below = new Float32Array(this.values[i].length);
      KINDS[this.operations[i].kind].backward(this.operations[i], this.values[i], this.values[i + 1], signal, below);
      signal = below;
    }
    return signal;
  }
}

function softmax(scores) {
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity), grown = Array.from(scores, (s) => Math.exp(s - top));
  const sum = grown.reduce((a, b) => a + b, 0);
  return grown.map((value) => value / sum);
}

// The bytes of a block of text: base64 of what zlib compressed.
async function unpacked(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
