package worker

import (
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func processCPU() time.Duration {
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// quotaCores returns the smallest quota of the control groups that the process
// is in, in cores; 0 when there is none.
func quotaCores() float64 { return quotaIn(os.DirFS("/")) }

// quotaIn looks where systems mount control groups: version 2 at
// /sys/fs/cgroup, the cpu controller of version 1 below it (cgroups(7)). In a
// container the group's own path may not be visible, and the mount's root is
// the group: so every level is tried, from the group's path up to the root,
// and the least quota counts, which is what the kernel does as well.
func quotaIn(root fs.FS) float64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := math.Inf(1)
	for line := range strings.Lines(string(groups)) {
		// "hierarchy:controllers:/path"; version 2 is hierarchy 0 without controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		id, controllers, group := parts[0], strings.Split(parts[1], ","), parts[2]
		var mount string
		var read func(fs.FS, string) float64
		switch {
		case id == "0" && parts[1] == "":
			mount, read = "sys/fs/cgroup", quotaV2
		case slices.Contains(controllers, "cpu"):
			mount, read = "sys/fs/cgroup/cpu", quotaV1
		default:
			continue
		}
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			if q := read(root, path.Join(mount, dir)); q > 0 {
				least = min(least, q)
			}
			if dir == "/" {
				break
			}
		}
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

// quotaV2 reads "quota period" in microseconds, quota being "max" for none.
func quotaV2(root fs.FS, dir string) float64 {
	data, err := fs.ReadFile(root, path.Join(dir, "cpu.max"))
	if err != nil {
		return 0
	}
	quota, period, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	return ratio(quota, period)
}

// quotaV1 reads the same from two files, the quota being -1 for none.
func quotaV1(root fs.FS, dir string) float64 {
	quota, err := fs.ReadFile(root, path.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return 0
	}
	period, err := fs.ReadFile(root, path.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return 0
	}
	return ratio(strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
}

// ratio is 0 for everything that is no quota.
func ratio(quota, period string) float64 {
	q, err1 := strconv.ParseUint(quota, 10, 63)
	p, err2 := strconv.ParseUint(period, 10, 63)
	if err1 != nil || err2 != nil || p == 0 {
		return 0
	}
	return float64(q) / float64(p)
}
