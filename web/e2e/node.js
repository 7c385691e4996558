// A WebRTC client in plain JavaScript (werift): no browser, no C.
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } from "werift";

const opus = new RTCRtpCodecParameters({ mimeType: "audio/opus", clockRate: 48000, channels: 2 });
const vp8 = new RTCRtpCodecParameters({
  mimeType: "video/VP8", clockRate: 90000,
  rtcpFeedback: [{ type: "nack" }, { type: "nack", parameter: "pli" }, { type: "goog-remb" }],
});

/**
 * Views a room by WHEP. seen counts packets of sound, whole pictures and the key
 * frames among them; leave() ends the session.
 */
export async function view(url) {
  const pc = new RTCPeerConnection({ codecs: { audio: [opus], video: [vp8] }, bundlePolicy: "max-bundle" });
  const seen = { status: 0, sound: 0, pictures: 0, keys: 0 };
  pc.ontrack = ({ track, transceiver }) => {
    // Who comes in the middle has to ask for a beginning.
    if (track.kind === "video") track.onReceiveRtp.once(({ header }) => transceiver.receiver.sendRtcpPLI(header.ssrc));
    track.onReceiveRtp.subscribe(({ header, payload }) => {
      if (track.kind === "audio") return void seen.sound++;
      if (header.marker) seen.pictures++;
      if (isKey(payload)) seen.keys++;
    });
  };
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.addTransceiver("audio", { direction: "recvonly" });
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp });
  seen.status = response.status;
  if (response.status !== 201) throw new Error(await response.text());
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  return {
    seen,
    async leave() {
      const { status } = await fetch(new URL(response.headers.get("Location"), url), { method: "DELETE" });
      await pc.close();
      return status;
    },
  };
}

/** Whether a packet begins a key frame: RFC 7741, sections 4.2 and 4.3. */
function isKey(payload) {
  const begins = (payload[0] & 0x17) === 0x10; // the first partition's start
  let at = 1;
  if (payload[0] & 0x80) {
    const extended = payload[at++];
    if (extended & 0x80) at += payload[at] & 0x80 ? 2 : 1;
    if (extended & 0x40) at++;
    if (extended & 0x30) at++;
  }
  return begins && (payload[at] & 1) === 0;
}
