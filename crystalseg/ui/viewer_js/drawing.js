// Drawing: a single picture, pictures side by side, or two pictures on both sides of a line that can be dragged.
function drawing({ data, state, root, canvas, context, part, tool, width, height, toFull, ratio, um }) {
  const arrangement = () => (data.arrangements.length > 1 ? part("arrangement").value : data.arrangements[0]);
  const columns = () => (arrangement() === "side" ? Math.max(2, data.sets.length) : 1);
  const paneWidth = () => canvas.width / columns();
  const scale = () => (paneWidth() / width) * state.zoom;

  function panes() {
    const sets = state.sets;
    const layer = part("layer").value;
    if (arrangement() === "one") return [{ set: sets[+part("shown").value || 0], layer }];
    if (sets.length > 1) return sets.map((set) => ({ set, layer }));
    return [{ set: sets[0], layer: "" }, { set: sets[0], layer }];
  }

  function draw() {
    if (!state.image) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const all = panes();
    const middle = state.swipe * canvas.width;
    all.slice(0, arrangement() === "swipe" ? 2 : undefined).forEach((pane, i) => {
      const left = arrangement() === "side" ? i * paneWidth() : 0;
      const [from, to] =
        arrangement() === "swipe" ? (i ? [middle, canvas.width] : [0, middle]) : [left, left + paneWidth()];
      context.save();
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.beginPath();
      context.rect(from, 0, to - from, canvas.height);
      context.clip();
      drawPane(pane, left);
      if (all.length > 1 && pane.set?.title) drawTitle(pane.set.title, i && arrangement() === "swipe" ? to : from, i);
      context.restore();
    });
    if (arrangement() !== "one") {
      context.fillStyle = "#fff";
      if (arrangement() === "swipe") context.fillRect(middle - ratio, 0, 2 * ratio, canvas.height);
      else for (let i = 1; i < columns(); i++) context.fillRect(i * paneWidth() - ratio, 0, 2 * ratio, canvas.height);
    }
    if (um) drawScaleBar(scale());
    root.dataset.layer = part("layer").value;
  }

  function drawPane({ set, layer }, left) {
    const s = scale();
    context.setTransform(s, 0, 0, s, left - state.x * s, -state.y * s);
    context.imageSmoothingEnabled = s < 2;
    context.imageSmoothingQuality = "medium";
    context.drawImage(state.image, 0, 0, width, height);
    const shown = state.layers[layer];
    if (shown?.sheet) {
      context.globalAlpha = part("opacity").value / 100;
      context.drawImage(shown.sheet, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (set?.fill && part("fill").value > 0) {
      context.globalAlpha = part("fill").value / 100;
      context.drawImage(set.fill, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (set?.edges && part("outline").checked) {
      // When the image is shown small, a line one image pixel wide would fade to dots, so it is drawn wider.
      const wide = Math.min(3, Math.max(1, Math.round(ratio / s)));
      for (let i = 0; i < wide * wide; i++) {
        context.drawImage(set.edges, (i % wide) - (wide - 1) / 2, Math.floor(i / wide) - (wide - 1) / 2, width, height);
      }
    }
    if (set?.marked) context.drawImage(set.marked, 0, 0, width, height);
    if (part("tiles").value !== "") drawTiles(data.tiles[+part("tiles").value].boxes, s);
    data.paths.forEach((path) => drawLine(path.points, path.colour, s, true));
    if (state.points.length) drawLine(state.points, "#ff3fd0", s, tool() === "split");
    if (set?.places && part("numbers").checked) drawNumbers(set, s);
  }

  function drawLine(points, colour, s, dots) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = (2.5 * ratio) / s;
    context.beginPath();
    if (!dots || tool() !== "split") {
      points.forEach(([y, x]) => context.lineTo(x / toFull, y / toFull));
      context.stroke();
    }
    if (!dots) return;
    (tool() === "split" && state.points === points ? points : [points[0], points.at(-1)]).forEach(([y, x], i) => {
      context.beginPath();
      context.arc(x / toFull, y / toFull, ((i ? 5 : 3) * ratio) / s, 0, 7);
      context.fill();
    });
  }

  function drawTiles(boxes, s) {
    context.strokeStyle = "rgba(0, 230, 255, 0.8)";
    context.lineWidth = ratio / s;
    boxes.forEach(([top, left, bottom, right]) =>
      context.strokeRect(left / toFull, top / toFull, (right - left) / toFull, (bottom - top) / toFull)
    );
  }

  function drawNumbers(set, s) {
    context.font = `${(12 * ratio) / s}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = (3 * ratio) / s;
    set.places.forEach(([x, y, area], id) => {
      if (Math.sqrt(area) * s < 16 * ratio) return;
      context.strokeStyle = "rgba(0,0,0,0.75)";
      context.strokeText(id, x, y);
      context.fillStyle = "#fff";
      context.fillText(id, x, y);
    });
  }

  function drawTitle(words, x, right) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.font = `${13 * ratio}px sans-serif`;
    context.textAlign = arrangement() === "swipe" && right ? "right" : "left";
    context.textBaseline = "alphabetic";
    const away = (context.textAlign === "right" ? -8 : 8) * ratio;
    const long = context.measureText(words).width;
    context.fillStyle = "rgba(20,24,28,0.8)";
    context.fillRect(x + (away > 0 ? 0 : -long - 16 * ratio), 0, long + 16 * ratio, 24 * ratio);
    context.fillStyle = "#fff";
    context.fillText(words, x + away, 16 * ratio);
    context.textAlign = "left";
  }

  function drawScaleBar(s) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    const target = ((paneWidth() / s) * um) / 5;
    const power = 10 ** Math.floor(Math.log10(target));
    const length = [5, 2, 1].map((m) => m * power).find((l) => l <= target) ?? power;
    const pixels = (length / um) * s;
    const words = length >= 1000 ? `${length / 1000} mm` : `${+length.toPrecision(3)} µm`;
    const [x, y] = [14 * ratio, canvas.height - 16 * ratio];
    context.fillStyle = "rgba(255,255,255,0.85)";
    context.fillRect(x - 6 * ratio, y - 24 * ratio, Math.max(pixels, 60 * ratio) + 12 * ratio, 34 * ratio);
    context.fillStyle = "#000";
    context.fillRect(x, y, pixels, 4 * ratio);
    context.font = `${13 * ratio}px sans-serif`;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillText(words, x, y - 7 * ratio);
  }

  return { arrangement, columns, paneWidth, scale, panes, draw };
}
