package h264

// DecoderConfig says what a decoder accepts. The zero value is good.
type DecoderConfig struct {
	// MaxWidth and MaxHeight bound what is decoded, in whole macroblocks of 16;
	// turned by 90 degrees, as phones send it, it passes too. They default to 1920
	// and 1088.
	MaxWidth, MaxHeight int
}
