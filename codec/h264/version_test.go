package h264

import "testing"

func TestVersions(t *testing.T) {
	for _, tc := range []struct {
		v            version
		known, fault bool
	}{
		{version{1, 8, 0}, false, true},
		{version{2, 0, 0}, false, true},
		{version{2, 1, 0}, true, true},
		{version{2, 3, 1}, true, true},
		{version{2, 5, 0}, true, true},
		{version{2, 5, 1}, true, false},
		{version{2, 6, 0}, true, false},
		{version{2, 7, 0}, false, false},
		{version{3, 0, 0}, false, false},
	} {
		if err := tc.v.decoderFault(); tc.v.known() != tc.known || (err != nil) != tc.fault {
			t.Errorf("%v: known %v, fault %v", tc.v, tc.v.known(), err)
		}
	}
}
