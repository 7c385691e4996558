// Cameras, microphones, loudspeakers and screens: opening them, listing them, and
// saying in plain words why one cannot be had.
import { t } from "./i18n.js";

// By the name of the error, of which browsers have the same (W3C Media Capture and
// Streams, section 10.2), and by what it was about.
const words = {
  NotAllowedError: {
    camera: "The browser was not allowed to use the camera. Allow it beside the address bar, then choose it again; you can also join without.",
    microphone: "The browser was not allowed to use the microphone. Allow it beside the address bar, then choose it again; you can also join without.",
    screen: "The browser was not allowed to show the screen.",
  },
  // The browser was, but is itself not allowed to by the system.
  system: {
    camera: "The system does not let the browser use the camera. Allow it in the system's privacy settings; you can also join without.",
    microphone: "The system does not let the browser use the microphone. Allow it in the system's privacy settings; you can also join without.",
    screen: "The system does not let the browser record the screen. Allow it in the system's privacy settings, then start the browser anew.",
  },
  NotFoundError: {
    camera: "No camera was found. Plug one in, or join without.",
    microphone: "No microphone was found. Plug one in, or join without.",
    screen: "There is no screen to share.",
  },
  NotReadableError: {
    camera: "The camera is in use by another program, or it does not answer. Close the other program, or join without.",
    microphone: "The microphone is in use by another program, or it does not answer. Close the other program, or join without.",
    screen: "The screen cannot be read. Close other programs that record it, or share a window.",
  },
  OverconstrainedError: {
    camera: "The chosen camera is gone. Choose another one.",
    microphone: "The chosen microphone is gone. Choose another one.",
    screen: "The screen cannot be shared in a size that is wanted here.",
  },
  AbortError: {
    camera: "The camera did not start. Unplug it and plug it in again, or choose another one.",
    microphone: "The microphone did not start. Unplug it and plug it in again, or choose another one.",
    screen: "Sharing the screen did not start. Try again.",
  },
  InvalidStateError: {
    camera: "The page was not in front when it asked for the camera. Choose it again.",
    microphone: "The page was not in front when it asked for the microphone. Choose it again.",
    screen: "The page was not in front when it asked for the screen. Press the button again.",
  },
  SecurityError: {
    camera: "This browser forbids pages to use cameras. Its settings, or who looks after this machine, can change that.",
    microphone: "This browser forbids pages to use microphones. Its settings, or who looks after this machine, can change that.",
    screen: "This browser forbids pages to show screens. Its settings, or who looks after this machine, can change that.",
  },
  other: {
    camera: "The camera could not be opened: {detail}",
    microphone: "The microphone could not be opened: {detail}",
    screen: "The screen could not be shared: {detail}",
  },
  ended: {
    camera: "The camera was unplugged, or another program took it.",
    microphone: "The microphone was unplugged, or another program took it.",
  },
};

const whatOf = (kind) => kind === "video" ? "camera" : "microphone";

/** Says in plain words why what ("camera", "microphone", "screen") could not be had. */
export function explain(error, what) {
  if (!navigator.mediaDevices) {
    return t("Browsers open cameras and microphones only on https:// pages and on this very machine (localhost). You can join to watch and listen.");
  }
  const bySystem = error?.name === "NotAllowedError" && /system/i.test(error.message);
  const name = bySystem ? "system" : Object.hasOwn(words, error?.name) ? error.name : "other";
  return t(words[name][what], { detail: error?.message || String(error) });
}

/** Says in plain words that a device which was open is gone. */
export const explainEnd = (kind) => t(words.ended[whatOf(kind)]);

/** All that can be said, in English, for a test of the other languages. */
export const sentences = Object.values(words).flatMap(Object.values);

/**
 * Opens one device. deviceId "" is the system's choice, "none" is no device.
 * Returns {track, note}: track is null without a device, and note then says why.
 */
export async function open(kind, deviceId) {
  if (deviceId === "none") return { track: null, note: "" };
  const exact = deviceId ? { deviceId: { exact: deviceId } } : {};
  const constraints = kind === "video"
    ? { video: { ...exact, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } } } // less is sent, see uplink.js
    : { audio: { ...exact, echoCancellation: true, noiseSuppression: true, autoGainControl: true } };
  try {
    const stream = await navigator.mediaDevices.getUserMedia(constraints);
    return { track: stream.getTracks()[0], note: "" };
  } catch (error) {
    return { track: null, note: explain(error, whatOf(kind)) };
  }
}

const names = { videoinput: "Camera {n}", audioinput: "Microphone {n}", audiooutput: "Loudspeaker {n}" };

/**
 * Fills a select with the devices of a kind ("videoinput", ...), and keeps what was
 * chosen. Returns how many there are.
 */
export async function fill(select, kind, current) {
  const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
  const fitting = devices.filter((d) => d.kind === kind && d.deviceId);
  const options = fitting.map((d, i) => new Option(d.label || t(names[kind], { n: i + 1 }), d.deviceId));
  if (options.length === 0) options.push(new Option(t("Default"), ""));
  if (kind !== "audiooutput") options.push(new Option(t("None"), "none"));
  select.replaceChildren(...options);
  if (current && options.some((o) => o.value === current)) select.value = current;
  return fitting.length;
}

/**
 * Shows a track's loudness in a meter until stop() is called; the meter's value is
 * 0 for -60 dB and less, 1 for 0 dB.
 */
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
    meter.value = Math.max(0, 1 + Math.log10(power + 1e-9) / 6);
    frame = requestAnimationFrame(draw);
  };
  draw();
  return { stop() { cancelAnimationFrame(frame); context.close(); meter.value = 0; } };
}
