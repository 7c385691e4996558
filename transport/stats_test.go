package transport

import (
	"reflect"
	"runtime"
	"testing"
	"time"

	"mixdown/codec"
)

// TestStatsAddCountsEveryField fails when a counter is added and forgotten in add.
func TestStatsAddCountsEveryField(t *testing.T) {
	var one, sum Stats
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Uint64 {
			v.Field(i).SetUint(uint64(i) + 1)
		}
	}
	// The engine's own, not a peer's:
	one.Forged, one.SocketDropped, one.Unsent = 0, 0, 0
	one.PathsFailed, one.HandshakesFailed, one.Unauthentic = 0, 0, 0
	sum.add(one)
	sum.add(one)
	got, want := reflect.ValueOf(sum), reflect.ValueOf(one)
	for i := range got.NumField() {
		if got.Field(i).Kind() == reflect.Uint64 && got.Field(i).Uint() != 2*want.Field(i).Uint() {
			t.Errorf("%s is %d after adding %d twice", got.Type().Field(i).Name, got.Field(i).Uint(), want.Field(i).Uint())
		}
	}
}

func TestEngineStatsOutliveThePeer(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	_, p, _ := join(t, e, h, RoleViewer, clientConfig{audio: "recvonly", video: []string{"recvonly"}})
	if s := e.Stats(); s.Peers != 1 || s.Connected != 1 {
		t.Errorf("%d peers, %d connected: want 1, 1", s.Peers, s.Connected)
	}
	for i := range 5 {
		f := videoFrame(time.Duration(i+1)*33*time.Millisecond, i == 0, 3000)
		p.WriteVideo(f)
		f.Release()
		f = audioFrame(time.Duration(i) * codec.FrameDuration)
		p.WriteAudio(f)
		f.Release()
	}
	useless := videoFrame(time.Second, false, 100)
	useless.Stream = 77 // of another encoder, and no key frame
	p.WriteVideo(useless)
	useless.Release()
	for e.Stats().SentPackets < 5+5*3 {
		runtime.Gosched()
	}
	before := e.Stats()
	if before.VideoDropped != 1 || before.SentBytes < 15000 {
		t.Errorf("%+v", before)
	}
	p.Close()
	if after := e.Stats(); after.Peers != 0 || after.SentPackets < before.SentPackets || after.VideoDropped != 1 {
		t.Errorf("after the peer has gone: %+v, before: %+v", after, before)
	}
}
