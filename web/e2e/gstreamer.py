"""A WebRTC client of GStreamer's webrtcbin, for the tests.

    gstreamer.py URL whip|whep|participants vp8|h264

It posts an offer to URL, sends a test picture and a tone (whip), counts the
pictures and the sound that it decodes (whep), or does both, until it is
interrupted. Once connected it prints a line of JSON each second: what came and
what was sent in it.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

AUDIO = "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2"
VIDEO = {
    "vp8": "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000",
    "h264": "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1",
}
ENCODE = {
    "vp8": "vp8enc deadline=1 target-bitrate=500000 keyframe-max-dist=60 ! rtpvp8pay pt=96 picture-id-mode=15-bit",
    # Key frames every second: this encoder takes no requests for them.
    "h264": "openh264enc bitrate=500000 gop-size=30 complexity=low ! h264parse config-interval=-1 "
            "! rtph264pay pt=96 aggregate-mode=zero-latency",
}
DECODE = {"vp8": "rtpvp8depay ! vp8dec", "h264": "rtph264depay ! h264parse ! openh264dec"}
CAMERA = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! videoconvert"
VOICE = "audiotestsrc is-live=true freq=880 volume=0.3 ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=97"


class Client:
    def __init__(self, url, role, codec):
        self.url, self.codec = url, codec
        self.count = {"pictures": 0, "sound": 0, "sentPictures": 0}
        self.loudest, self.session = -200.0, None
        self.pipeline = Gst.Pipeline.new(None)
        self.rtc = Gst.ElementFactory.make("webrtcbin")
        self.rtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.rtc)
        self.rtc.connect("pad-added", self.incoming)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.failed)
        bus.connect("message::element", self.heard)
        if role == "whep":
            for caps in (VIDEO[codec], AUDIO):
                self.rtc.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(caps))
        else:
            video = self.send(f"{CAMERA} ! {ENCODE[codec]}", VIDEO[codec])
            video.add_probe(Gst.PadProbeType.BUFFER, self.counter("sentPictures", marked=True))
            self.send(VOICE, AUDIO)
            if role == "whip":
                for i in range(2):
                    self.rtc.emit("get-transceiver", i).set_property(
                        "direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)

    def send(self, description, caps):
        source = Gst.parse_bin_from_description(f"{description} ! capsfilter name=out caps={caps} ! queue", True)
        self.pipeline.add(source)
        pad = self.rtc.request_pad_simple("sink_%u")
        source.get_static_pad("src").link(pad)
        return pad

    def counter(self, name, marked=False):
        def count(_, info):
            buffer = info.get_buffer()
            if not marked or buffer.has_flags(Gst.BufferFlags.MARKER):
                self.count[name] += 1
            return Gst.PadProbeReturn.OK
        return count

    def incoming(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        video = pad.get_current_caps().get_structure(0).get_string("media") == "video"
        decode = DECODE[self.codec] if video else "rtpopusdepay ! opusdec ! level"
        sink = Gst.parse_bin_from_description(f"queue ! {decode} ! fakesink name=end sync=false", True)
        sink.get_by_name("end").get_static_pad("sink").add_probe(
            Gst.PadProbeType.BUFFER, self.counter("pictures" if video else "sound"))
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def heard(self, _, message):
        levels = message.get_structure()
        if levels.get_name() == "level":
            self.loudest = max([self.loudest, *levels.get_value("rms")])

    def failed(self, _, message):
        error, debug = message.parse_error()
        sys.exit(f"{error.message}\n{debug}")

    def until(self, what, ok, seconds=15):
        """Runs the main loop until ok()."""
        deadline, context = time.monotonic() + seconds, GLib.MainContext.default()
        while not ok():
            if what and time.monotonic() > deadline:
                sys.exit(f"{what}: not within {seconds} s")
            if not context.iteration(False):
                time.sleep(0.005)

    def offer(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        promise = Gst.Promise.new()
        self.rtc.emit("create-offer", None, promise)
        promise.wait()
        reply = promise.get_reply()  # owns the offer
        self.rtc.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())
        gathered = GstWebRTC.WebRTCICEGatheringState.COMPLETE
        self.until("candidates", lambda: self.rtc.get_property("ice-gathering-state") == gathered)
        return self.rtc.get_property("local-description").sdp.as_text()

    def join(self):
        request = urllib.request.Request(self.url, self.offer().encode(), {"Content-Type": "application/sdp"})
        try:
            with urllib.request.urlopen(request) as response:
                text = response.read()
                self.session = urllib.parse.urljoin(self.url, response.headers["Location"])
        except urllib.error.HTTPError as error:
            sys.exit(f"{error.code} {error.read().decode()}")
        _, sdp = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(text, sdp)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.rtc.emit("set-remote-description", answer, Gst.Promise.new())
        connected = GstWebRTC.WebRTCPeerConnectionState.CONNECTED
        self.until("the connection", lambda: self.rtc.get_property("connection-state") == connected)

    def tell(self):
        """Prints what the next second brings."""
        self.count, self.loudest = dict.fromkeys(self.count, 0), -200.0
        end = time.monotonic() + 1
        self.until("", lambda: time.monotonic() > end)
        print(json.dumps(self.count | {"loudestDB": round(self.loudest, 1)}), flush=True)

    def leave(self):
        urllib.request.urlopen(urllib.request.Request(self.session, method="DELETE"))
        self.pipeline.set_state(Gst.State.NULL)


def main(url, role, codec):
    Gst.init(None)
    client = Client(url, role, codec)
    client.join()
    try:
        while True:
            client.tell()
    except KeyboardInterrupt:
        client.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
