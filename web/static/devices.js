// Cameras, microphones and screens: opening them, listing them, and saying in
// plain words why one cannot be had.

const words = {
  NotAllowedError: (what) => `The browser was not allowed to use the ${what}. Allow it beside the address bar, then reload; you can also join without.`,
  NotFoundError: (what) => `No ${what} was found. Plug one in, or join without.`,
  NotReadableError: (what) => `The ${what} is in use by another program, or it does not answer. Close the other program, or join without.`,
  OverconstrainedError: (what) => `The chosen ${what} is gone. Choose another one.`,
};

/** Says in plain words why a device could not be opened. */
export function explain(error, what) {
  if (!navigator.mediaDevices) {
    return "Browsers open cameras and microphones only on https:// pages and on this very machine (localhost). You can join to watch and listen.";
  }
  return (words[error?.name] ?? (() => `The ${what} could not be opened: ${error?.message ?? error}`))(what);
}

/**
 * Opens one device. deviceId "" is the system's choice, "none" is no device.
 * Returns {track, note}: track is null without a device, and note then says why.
 */
export async function open(kind, deviceId) {
  if (deviceId === "none") return { track: null, note: "" };
  const what = kind === "video" ? "camera" : "microphone";
  const exact = deviceId ? { deviceId: { exact: deviceId } } : {};
  const constraints = kind === "video"
    ? { video: { ...exact, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } } } // less is sent, see uplink.js
    : { audio: { ...exact, echoCancellation: true, noiseSuppression: true, autoGainControl: true } };
  try {
    const stream = await navigator.mediaDevices.getUserMedia(constraints);
    return { track: stream.getTracks()[0], note: "" };
  } catch (error) {
    return { track: null, note: explain(error, what) };
  }
}

/** Fills a select with the devices of a kind, and keeps what was chosen. */
export async function fill(select, kind, current) {
  const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
  const fitting = devices.filter((d) => d.kind === `${kind}input` && d.deviceId);
  const options = fitting.map((d, i) => new Option(d.label || `${kind === "video" ? "Camera" : "Microphone"} ${i + 1}`, d.deviceId));
  if (options.length === 0) options.push(new Option("Default", ""));
  options.push(new Option("None", "none"));
  select.replaceChildren(...options);
  if (current && options.some((o) => o.value === current)) select.value = current;
}

/** Shows a track's loudness in a meter until stop() is called. */
export function watchLevel(track, meter) {
  if (!track) {
    meter.value = 0;
    return { stop() {} };
  }
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let frame = 0;
  const draw = () => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
    // -60 dB is the meter's left end, 0 dB its right.
    meter.value = Math.max(0, 1 + Math.log10(power + 1e-9) / 6);
    frame = requestAnimationFrame(draw);
  };
  draw();
  return { stop() { cancelAnimationFrame(frame); context.close(); } };
}
