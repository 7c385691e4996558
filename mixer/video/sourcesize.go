package video

// Size returns the size of the pictures that come; 0, 0 before the first.
func (s *Source) Size() (width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.stats.Width, s.mu.stats.Height
}
