package api

import (
	"fmt"

	"mixdown/mixer/record"
)

// StorageChanged is the data of storage.
type StorageChanged struct {
	Level    string `json:"level" enum:"ok,low,full" doc:"low: there is little room left for recordings. full: there is none; what was being recorded has been ended properly, and nothing is recorded until there is room again"`
	Free     int64  `json:"free" doc:"Bytes that the disk has left"`
	Reserve  int64  `json:"reserve" doc:"Bytes of it that recordings leave free"`
	Bytes    int64  `json:"bytes" doc:"Of all recordings"`
	MaxBytes int64  `json:"maxBytes" doc:"0 is no bound"`
	Count    int    `json:"count" doc:"Of all recordings"`
	MaxCount int    `json:"maxCount" doc:"0 is no bound"`
}

func storageOf(st record.Storage) StorageChanged {
	return StorageChanged{
		Level: st.Level.String(), Free: max(st.Free, 0), Reserve: st.Reserve,
		Bytes: st.Bytes, MaxBytes: st.MaxBytes, Count: st.Count, MaxCount: st.MaxCount,
	}
}

// storageLine is what /readyz says of the room for recordings; empty when all is
// well. A server with a full disk is ready all the same: conferences need none.
func (s *Server) storageLine() string {
	if s.recordings == nil {
		return ""
	}
	st := s.recordings.Storage()
	if st.Level == record.StorageOK {
		return ""
	}
	return fmt.Sprintf("storage %v: %d bytes free, %d reserved; recordings %d bytes of %d", st.Level, max(st.Free, 0), st.Reserve, st.Bytes, st.MaxBytes)
}
