package mixer

import "mixdown/mixer/record"

// StorageChange is the data of EventStorage.
type StorageChange struct{ record.Storage }

// followStorage tells when the room that is left for recordings has changed for
// better or worse. The store ends by itself what there is no room for; its
// Recorders' ends come as those of any. Control loop only.
func (r *Room) followStorage() {
	if r.cfg.Recordings == nil {
		return
	}
	if st := r.cfg.Recordings.Storage(); st.Level != r.stored {
		r.stored = st.Level
		r.raise(EventStorage, StorageChange{st})
	}
}
