#!/bin/sh
# Fetches real pictures and real speech from Debian packages and converts them
# into .cache/clips, where tests, `mixdown bench` and `mixdown join` find them:
#
#   video-01.ivf .. video-16.ivf   640x360 at 30 fps, VP8 500 kb/s, ~8 s, one key frame
#   video-720p.ivf                 1280x720 at 30 fps, VP8 1.5 Mb/s
#   speech-01.ogg .. speech-16.ogg Opus 48 kHz mono, 20 ms packets, 30 s each
#   red.y4m, blue.y4m              640x360 at 30 fps, 3 s, for Chromium's fake camera;
#                                  a strong colour cast tells them apart in a tile
#   red.wav, blue.wav              speech plus a tone (520 Hz, 1130 Hz), 10 s, 48 kHz
#   red-tone.wav, blue-tone.wav    the tones alone
#
# Sources: forensics-samples-files (a webcam beside a shared screen, and a dog
# filmed by hand; CC-BY-SA-4.0) and asterisk-core-sounds-en-g722 (a human
# voice, CC-BY-SA-3.0). Nothing of them is committed.
#
# Usage: fetch-clips.sh [DIRECTORY]   (default: .cache/clips in the project)
# Running it again with everything in place does nothing.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
out=${1:-$root/.cache/clips}
packages="forensics-samples-files asterisk-core-sounds-en-g722"

fail() {
	echo "fetch-clips: $*" >&2
	exit 1
}

# The stamp holds this script's checksum: a change here makes the clips anew.
stamp=$(cksum <"$0")
[ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ] && exit 0

for tool in apt-get dpkg-deb ffmpeg; do
	command -v $tool >/dev/null || fail "$tool is missing: the clips come from Debian packages and are converted with ffmpeg (try: make deps)"
done

mkdir -p "$out"
tmp=$(mktemp -d "$out/.tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT INT TERM
chmod 755 "$tmp"
cd "$tmp"

# An unprivileged user may download, but not refresh the system's package
# lists: when those are missing or old, use lists of our own.
if ! apt-get -qq download $packages 2>apt.err; then
	mkdir -p apt/lists/partial apt/cache/archives/partial
	own="-o Dir::State::Lists=$tmp/apt/lists -o Dir::Cache=$tmp/apt/cache"
	apt-get -qq $own update 2>>apt.err && apt-get -qq $own download $packages 2>>apt.err || {
		cat apt.err >&2
		fail "cannot download $packages: a Debian mirror must be reachable through apt"
	}
fi
for deb in *.deb; do
	dpkg-deb -x "$deb" tree
done
movie=$(find tree -name movie-hello.mp4)
dog=$(find tree -name 'VID_*.mp4' | head -n 1)
[ -f "$movie" ] && [ -f "$dog" ] || fail "the movies are not where they were in forensics-samples-files 1.1.4"

ff() { ffmpeg -nostdin -v error -y "$@"; }

# What a browser sends: realtime, constant bitrate, no alt-ref, one key frame.
vp8() {
	echo "-an -c:v libvpx -deadline realtime -cpu-used 8 -threads 1 -auto-alt-ref 0 -lag-in-frames 0
		-error-resilient 1 -g 9999 -qmin 2 -qmax 56 -b:v $1 -minrate $1 -maxrate $1 -bufsize $1"
}

# The dog is 1.5 s; forth and back it makes a loop without a jump.
ff -i "$dog" -filter_complex "[0]fps=30,scale=1280:720,split[a][b];[b]reverse[r];[a][r]concat=n=2,loop=3:90,trim=duration=8.3" \
	-an -c:v libx264 -preset veryfast -qp 12 dog.mp4

# The man fills the webcam's window in the movie; each clip starts elsewhere
# and is cropped a little differently.
n=0
clip() { # source, start in seconds, filter
	n=$((n + 1))
	ff -stream_loop 1 -i "$1" -ss "$2" -t 8.3 -vf "$3,scale=640:360" $(vp8 500k) "$(printf video-%02d.ivf $n)"
}
for start in 0 1.7 3.3 5.1 6.6; do
	clip "$movie" $start "crop=252:142:114:$((84 + n * 8))"
done
for start in 0.9 2.6 4.2; do
	clip "$movie" $start "crop=$((224 - n * 4)):$((126 - n * 2)):$((120 + n * 3)):96,hflip,hue=h=$((n * 30))"
done
clip dog.mp4 0 "null"
clip dog.mp4 2.1 "crop=800:450:100:100"
clip dog.mp4 4.3 "crop=640:360:320:60,hflip"
clip dog.mp4 5.9 "crop=960:540:0:90,hue=h=90"
clip "$movie" 0 "null"
clip "$movie" 3 "crop=640:360:80:20"
clip "$movie" 5 "crop=800:450:64:20"
clip "$movie" 7 "crop=252:142:114:110,eq=brightness=0.1:saturation=1.6"
ff -i dog.mp4 $(vp8 1500k) video-720p.ivf

# Sentences of 1 s and more, dealt out to 16 voices until each has 30 s. G.722
# is 8000 bytes a second, and pieces of it can be joined as they are.
find tree -name '*.g722' -size +16 ! -path '*/silence/*' ! -name '*beep*' ! -name '*tone*' | sort >sentences
total=$(wc -l <sentences)
[ "$total" -ge 64 ] || fail "only $total sentences in asterisk-core-sounds-en-g722"
for voice in 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16; do
	i=$((1${voice} - 100))
	awk "NR % 16 == $i % 16" sentences | xargs cat 2>/dev/null | head -c 240000 >voice.g722
	# Looped first: some hands are shorter than 30 s.
	ff -f g722 -stream_loop 4 -i voice.g722 -t 30 -af "loudnorm=I=-20:TP=-3,aresample=48000" -ac 1 \
		-c:a libopus -application voip -b:a 32k -vbr on -compression_level 5 -frame_duration 20 "speech-$voice.ogg"
done

# Chromium plays uncompressed files in a loop, so they are short.
camera() { # name, clip, tone in Hz, mixer
	ff -i "$2" -t 3 -vf "colorchannelmixer=$4" -pix_fmt yuv420p "$1.y4m"
	ff -f lavfi -i "sine=f=$3:r=48000:d=10" -af volume=1.6 -ac 1 -c:a pcm_s16le "$1-tone.wav"
	ff -i "$5" -f lavfi -i "sine=f=$3:r=48000:d=10" -filter_complex \
		"[0]atrim=0:10[s];[1]volume=1.6[t];[s][t]amix=inputs=2:duration=longest:normalize=0" -ac 1 -ar 48000 -c:a pcm_s16le "$1.wav"
}
camera red video-01.ivf 520 "rr=0.9:rg=0.5:rb=0.2:gg=0.15:bb=0.15:gr=0:br=0" speech-01.ogg
camera blue video-09.ivf 1130 "bb=0.9:bg=0.5:br=0.2:gg=0.15:rr=0.15:gr=0" speech-02.ogg

mv ./*.ivf ./*.ogg ./*.y4m ./*.wav "$out/"
echo "$stamp" >"$out/.stamp"
echo "fetch-clips: $(ls "$out" | wc -l) files, $(du -sh "$out" | cut -f1) in $out"
