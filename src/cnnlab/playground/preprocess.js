// From any picture to what the network sees, as `cnnlab predict` does it: data/digits.py, images.py.
//
// An image is { channels, height, width, data } with levels 0 to 255 in [channel][row][column].

const image = (channels, height, width, data) => ({ channels, height, width, data });

// Python's round: halves go to the even number.
function roundEven(value) {
  const low = Math.floor(value), rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

const toLevel = (value) => Math.min(255, Math.max(0, Math.floor(value + 0.5)));

// Gray is repeated; color becomes gray by the weights of ITU-R BT.601.
function toChannels(picture, channels) {
  if (picture.channels === channels) return picture;
  const area = picture.height * picture.width, data = new Float64Array(channels * area);
  for (let i = 0; i < area; i++) {
    const gray = picture.channels === 1 ? picture.data[i]
      : roundEven(0.299 * picture.data[i] + 0.587 * picture.data[area + i] + 0.114 * picture.data[2 * area + i]);
    for (let c = 0; c < channels; c++) data[c * area + i] = gray;
  }
  return image(channels, picture.height, picture.width, data);
}

// Which inputs each output of a resized side takes, and how much: a triangle as wide as the scale.
function taps(from, to) {
  const scale = from / to, support = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const center = scale * (i + 0.5), first = Math.max(0, Math.floor(center - support + 0.5));
    const last = Math.min(from, Math.floor(center + support + 0.5));
    const shares = [];
    for (let j = first; j < last; j++) shares.push(Math.max(0, 1 - Math.abs((j + 0.5 - center) / support)));
    const sum = shares.reduce((a, b) => a + b, 0);
    return [first, shares.map((share) => share / sum)];
  });
}

// Bilinear with antialiasing, across and then down, rounded to levels after each.
function resize(picture, height, width) {
  if (picture.height === height && picture.width === width) return picture;
  const across = new Float64Array(picture.channels * picture.height * width), columns = taps(picture.width, width);
  for (let line = 0; line < picture.channels * picture.height; line++) {
    columns.forEach(([first, shares], x) => {
      let sum = 0;
      for (let j = 0; j < shares.length; j++) sum += shares[j] * picture.data[line * picture.width + first + j];
      across[line * width + x] = toLevel(sum);
    });
  }
  const data = new Float64Array(picture.channels * height * width), rows = taps(picture.height, height);
  for (let c = 0; c < picture.channels; c++) {
    rows.forEach(([first, shares], y) => {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let j = 0; j < shares.length; j++) sum += shares[j] * across[(c * picture.height + first + j) * width + x];
        data[(c * height + y) * width + x] = toLevel(sum);
      }
    });
  }
  return image(picture.channels, height, width, data);
}

// Cut or put a picture into [height][width] with its corner at (top, left); black elsewhere.
function place(picture, height, width, top, left) {
  const data = new Float64Array(picture.channels * height * width);
  for (let c = 0; c < picture.channels; c++) {
    for (let y = Math.max(0, top); y < Math.min(height, top + picture.height); y++) {
      for (let x = Math.max(0, left); x < Math.min(width, left + picture.width); x++) {
        data[(c * height + y) * width + x] = picture.data[(c * picture.height + y - top) * picture.width + x - left];
      }
    }
  }
  return image(picture.channels, height, width, data);
}

function centerCrop(picture, size) {
  const top = roundEven((picture.height - size) / 2), left = roundEven((picture.width - size) / 2);
  return place(picture, size, size, -top, -left);
}

// The mean of the square around each pixel, beyond the edge the edge's own value: across, then down.
function wideMean(gray, height, width, radius) {
  const across = new Float64Array(gray.length), means = new Float64Array(gray.length), sums = new Float64Array(width);
  const within = (at, length) => Math.min(length - 1, Math.max(0, at)), share = 1 / (2 * radius + 1) ** 2;
  for (let row = 0; row < gray.length; row += width) {
    let sum = 0;
    for (let x = -radius; x < radius; x++) sum += gray[row + within(x, width)];
    for (let x = 0; x < width; x++) {
      across[row + x] = sum += gray[row + within(x + radius, width)];
      sum -= gray[row + within(x - radius, width)];
    }
  }
  for (let y = -2 * radius; y < height; y++) {
    const added = within(y + radius, height) * width, dropped = within(y - radius, height) * width;
    for (let x = 0; x < width; x++) {
      sums[x] += across[added + x];
      if (y >= 0) means[y * width + x] = sums[x] * share, sums[x] -= across[dropped + x];
    }
  }
  return means;
}

// A new array of compute(i) for each index: several times as fast as `map`.
function filled(length, compute) {
  const made = new Float64Array(length);
  for (let i = 0; i < length; i++) made[i] = compute(i);
  return made;
}

// Whether the border is brighter than the middle of the picture's range.
function isDarkOnBright(gray, height, width) {
  const border = [...gray.subarray(0, width), ...gray.subarray((height - 1) * width)];
  for (let y = 0; y < height; y++) border.push(gray[y * width], gray[y * width + width - 1]);
  border.sort((a, b) => a - b);
  let low = Infinity, high = -Infinity;
  for (const value of wideMean(gray, height, width, 1)) low = Math.min(low, value), high = Math.max(high, value);
  return border[Math.floor((border.length - 1) / 2)] > (low + high) / 2;
}

// The level that splits the ink into two classes with the largest variance between them (Otsu, 1979).
function otsu(ink, top) {
  const counts = new Float64Array(256), weights = [], means = [];
  for (const value of ink) counts[Math.min(255, Math.floor(value / top * 256))]++;
  let weight = 0, mean = 0;
  counts.forEach((count, level) => {
    weights.push(weight += count / ink.length);
    means.push(mean += count / ink.length * (level + 0.5) * top / 256);
  });
  let best = 0, most = -1;
  for (let i = 0; i < 255; i++) {
    const spread = (mean * weights[i] - means[i]) ** 2 / Math.max(1e-12, weights[i] * (1 - weights[i]));
    if (spread > most) [best, most] = [i, spread];
  }
  return (best + 1) * top / 256;
}

// A drawn or photographed digit as MNIST has them: bright ink, 20 pixels, its mass in the middle of 28.
function likeMnist(picture) {
  if (picture.height === 28 && picture.width === 28) return picture;
  const scale = 256 / Math.max(picture.height, picture.width);
  const height = Math.max(1, roundEven(picture.height * scale)), width = Math.max(1, roundEven(picture.width * scale));
  const area = height * width, level = resize(picture, height, width).data;
  const gray = isDarkOnBright(level, height, width) ? filled(area, (i) => 255 - level[i]) : level;

  const around = (values) => wideMean(values, height, width, Math.floor(Math.max(height, width) / 6));
  const darker = (than) => filled(area, (i) => Math.min(gray[i], than[i]));
  const paper = around(darker(around(darker(around(gray)))));
  const ink = filled(area, (i) => Math.max(0, gray[i] - paper[i])), top = ink.reduce((a, b) => Math.max(a, b), 0);
  if (top < 12) return image(1, 28, 28, new Float64Array(784));
  const threshold = otsu(ink, top);
  return centered(filled(area, (i) => (ink[i] > threshold ? roundEven(ink[i] / top * 255) : 0)), height, width);
}

// Scale the box of the ink to 20 pixels and put its center of mass into the middle.
function centered(strokes, height, width) {
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (strokes[i]) top = Math.min(top, y), bottom = y, left = Math.min(left, x), right = Math.max(right, x);
    }
  }
  const rows = bottom - top + 1, columns = right - left + 1;
  const box = place(image(1, height, width, strokes), rows, columns, -top, -left), scale = 20 / Math.max(rows, columns);
  const small = resize(box, Math.max(1, roundEven(rows * scale)), Math.max(1, roundEven(columns * scale)));

  let [mass, row, column] = [0, 0, 0];
  small.data.forEach((value, i) => {
    mass += value, row += value * Math.floor(i / small.width), column += value * (i % small.width);
  });
  const inside = (corner, side) => Math.min(Math.max(roundEven(corner), 0), 28 - side);
  return place(small, 28, 28, inside(13.5 - row / mass, small.height), inside(13.5 - column / mass, small.width));
}

// Any picture -> the levels that the network sees. input: the page's description of the preprocessing.
function seen(picture, input) {
  const { channels, stored_pixels: side, pad_pixels: pad } = input;
  let one = toChannels(input.is_digits ? likeMnist(toChannels(picture, 1)) : picture, channels);
  if (one.height !== side || one.width !== side) {
    const content = side - 2 * pad, shorter = Math.min(one.height, one.width);
    const scaled = (length) => Math.max(content, roundEven(length * content / shorter));
    one = centerCrop(resize(one, scaled(one.height), scaled(one.width)), content);
    one = place(one, side, side, pad, pad);
  }
  return centerCrop(one, input.size);
}

// Levels -> the network's input: (level - mean) / std.
function normalized(picture, input) {
  const area = input.size ** 2;
  return Float32Array.from(picture.data, (level, i) => {
    const c = Math.floor(i / area), mean = input.mean.length > input.channels ? input.mean[i] : input.mean[c];
    return (level - mean) / input.std[c];
  });
}
