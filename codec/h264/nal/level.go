package nal

// levels are the limits of table A-1: macroblocks (16x16 samples) of a picture,
// and of a second.
var levels = [...]struct {
	level               uint8
	blocks, blocksOfSec int
}{
	{9, 99, 1485}, {10, 99, 1485}, {11, 396, 3000}, {12, 396, 6000}, {13, 396, 11_880},
	{20, 396, 11_880}, {21, 792, 19_800}, {22, 1620, 20_250},
	{30, 1620, 40_500}, {31, 3600, 108_000}, {32, 5120, 216_000},
	{40, 8192, 245_760}, {41, 8192, 245_760}, {42, 8704, 522_240},
	{50, 22_080, 589_824}, {51, 36_864, 983_040}, {52, 36_864, 2_073_600},
}

// Blocks is how many macroblocks a picture of that size has.
func Blocks(width, height int) int { return (width + 15) / 16 * ((height + 15) / 16) }

// Level returns how many macroblocks a decoder of that level_idc takes: in a
// picture, and in a second. A level that is not known counts as the next lower
// one.
func Level(level uint8) (blocks, perSecond int) {
	for _, l := range levels {
		if l.level <= level || blocks == 0 {
			blocks, perSecond = l.blocks, l.blocksOfSec
		}
	}
	return blocks, perSecond
}
