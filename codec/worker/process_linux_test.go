package worker

import (
	"runtime"
	"testing"
	"testing/fstest"
	"time"
)

func TestQuota(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  float64
	}{
		{"nothing there", fstest.MapFS{}, 0},
		{"version 2", fstest.MapFS{
			"proc/self/cgroup":          file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/cpu.max": file("150000 100000\n"),
		}, 1.5},
		{"the parent has less", fstest.MapFS{
			"proc/self/cgroup":          file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/cpu.max": file("150000 100000\n"),
			"sys/fs/cgroup/a/cpu.max":   file("25000 100000\n"),
		}, 0.25},
		{"unlimited", fstest.MapFS{
			"proc/self/cgroup":      file("0::/\n"),
			"sys/fs/cgroup/cpu.max": file("max 100000\n"),
		}, 0},
		{"a container sees its own group as the root", fstest.MapFS{
			"proc/self/cgroup":      file("0::/../..\n"),
			"sys/fs/cgroup/cpu.max": file("200000 100000\n"),
		}, 2},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup":                        file("5:memory:/x\n4:cpu,cpuacct:/x\n"),
			"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us":    file("50000\n"),
			"sys/fs/cgroup/cpu/x/cpu.cfs_period_us":   file("100000\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":      file("-1\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":     file("100000\n"),
			"sys/fs/cgroup/memory/x/cpu.cfs_quota_us": file("1\n"),
		}, 0.5},
		{"rubbish", fstest.MapFS{
			"proc/self/cgroup":      file("0\n::\n0::/\n"),
			"sys/fs/cgroup/cpu.max": file("many 0\n"),
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := quotaIn(c.files); got != c.want {
				t.Errorf("%v cores, want %v", got, c.want)
			}
		})
	}
}

func TestCoresOfThisProcess(t *testing.T) {
	if c := Cores(); c <= 0 || c > float64(runtime.NumCPU()) {
		t.Errorf("%v cores, of %d processors", c, runtime.NumCPU())
	}
	before := ProcessCPU()
	burn(5 * time.Millisecond)
	// The kernel accounts by ticks of at most 10 ms on some systems.
	for ProcessCPU() == before {
		burn(time.Millisecond)
	}
	if used := ProcessCPU() - before; used < time.Millisecond {
		t.Errorf("%v used", used)
	}
}
