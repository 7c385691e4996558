// Calls as bare as a client of any kind would make them: an offer, a POST, the
// answer. The same functions run in Chromium's pages and in Firefox's.

/**
 * Joins from within a page and keeps the call there, under the number that it
 * returns with the answer's status and, if that is no 201, the problem's code.
 *
 *   path       what the offer is posted to
 *   audio, video  "sendrecv", "sendonly" or "recvonly"; "" is no such m-line
 *   codec      the only codec of pictures, as "video/VP8"
 *   candidates "udp" or "tcp" takes the others out, of offer and answer
 *   ice        of the server's ICE servers those whose URL matches, and nothing but relays
 */
export function call(page, options) {
  return page.evaluate(async ({ path, audio, video, codec, candidates, ice }) => {
    const configuration = { bundlePolicy: "max-bundle" };
    if (ice) {
      const { iceServers } = await (await fetch("/v1/ice-servers")).json();
      configuration.iceTransportPolicy = "relay";
      configuration.iceServers = iceServers.map((server) => ({ ...server, urls: [server.urls].flat().filter((url) => url.includes(ice)) }))
        .filter(({ urls }) => urls.length > 0);
    }
    const pc = new RTCPeerConnection(configuration);
    const stream = new MediaStream();
    const player = document.createElement("video"); // without one browsers need not decode
    Object.assign(player, { srcObject: stream, autoplay: true, muted: false });
    document.body.append(player);
    pc.ontrack = ({ track }) => stream.addTrack(track);
    const sends = (direction) => direction.startsWith("send");
    const devices = sends(audio) || sends(video)
      ? await navigator.mediaDevices.getUserMedia({
        audio: sends(audio) && { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
        video: sends(video) && { width: 640, height: 360, frameRate: 30 },
      }) : new MediaStream();
    for (const [kind, direction] of [["audio", audio], ["video", video]]) {
      if (!direction) continue;
      const track = devices.getTracks().find((t) => t.kind === kind);
      const transceiver = pc.addTransceiver(track && sends(direction) ? track : kind, { direction });
      if (codec && kind === "video") {
        transceiver.setCodecPreferences(RTCRtpReceiver.getCapabilities("video").codecs
          .filter(({ mimeType }) => mimeType === codec || mimeType === "video/rtx"));
      }
    }
    const only = (sdp) => candidates
      ? sdp.replace(/^a=candidate:\S+ \d+ (\S+) .*\r\n/gmi, (line, protocol) => protocol.toLowerCase() === candidates ? line : "") : sdp;
    await pc.setLocalDescription();
    if (candidates || ice) { // none of these are trickled: what is not in the offer is not used
      while (pc.iceGatheringState !== "complete") await new Promise((resolve) => pc.addEventListener("icegatheringstatechange", resolve, { once: true }));
    }
    const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: only(pc.localDescription.sdp) });
    const answer = await response.text();
    if (response.status !== 201) {
      pc.close();
      devices.getTracks().forEach((t) => t.stop());
      return { status: response.status, code: JSON.parse(answer).code };
    }
    await pc.setRemoteDescription({ type: "answer", sdp: only(answer) });
    window.calls ??= [];
    window.calls.push({ pc, player, devices, url: response.headers.get("Location") });
    return { status: response.status, number: window.calls.length - 1, participant: /<([^>]+)>;\s*rel="describedby"/.exec(response.headers.get("Link"))?.[1] };
  }, options);
}

/**
 * What a call has done so far, by the browser's own statistics: sums that grow
 * while media flow, and how it is connected.
 */
export function look(page, number) {
  return page.evaluate(async (number) => {
    const { pc } = window.calls[number];
    const stats = [...(await pc.getStats()).values()];
    const of = (type, kind) => stats.find((s) => s.type === type && s.kind === kind) ?? {};
    const codecOf = (s) => stats.find((c) => c.id === s.codecId)?.mimeType;
    const transport = stats.find((s) => s.type === "transport");
    const pair = stats.find((s) => s.id === transport?.selectedCandidatePairId) ??
      stats.find((s) => s.type === "candidate-pair" && s.selected);
    const local = stats.find((s) => s.id === pair?.localCandidateId) ?? {};
    return {
      at: performance.now() / 1000,
      state: pc.connectionState,
      pictures: of("inbound-rtp", "video").framesDecoded ?? 0,
      width: of("inbound-rtp", "video").frameWidth ?? 0,
      codec: codecOf(of("inbound-rtp", "video")),
      energy: of("inbound-rtp", "audio").totalAudioEnergy ?? 0,
      heard: of("inbound-rtp", "audio").totalSamplesDuration ?? 0,
      sent: of("outbound-rtp", "video").framesSent ?? of("outbound-rtp", "video").framesEncoded ?? 0,
      sentCodec: codecOf(of("outbound-rtp", "video")),
      protocol: local.protocol, relay: local.candidateType === "relay" ? local.relayProtocol : "",
    };
  }, number);
}

/** Leaves a call. */
export function hangUp(page, number) {
  return page.evaluate(async (number) => {
    const { pc, player, devices, url } = window.calls[number];
    await fetch(url, { method: "DELETE" });
    pc.close();
    player.remove();
    devices.getTracks().forEach((t) => t.stop());
  }, number);
}
