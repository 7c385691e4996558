package video

import (
	"bytes"
	"flag"
	"image"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"mixdown/codec"
)

var update = flag.Bool("update", false, "write the golden pictures, and with clips the gallery, anew")

// goldenBlock is the side of the squares that are compared. A missing mark or
// another name changes one of them a lot, and the mean of a picture hardly.
const goldenBlock = 8

// TestGolden compares every layout with a committed picture, so that a change
// in looks is seen by a person before it is committed; -update writes them anew.
func TestGolden(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	all := stages(t, pool)
	if files, err := filepath.Glob("testdata/golden/*.png"); err != nil || !*update && len(files) != len(all) {
		t.Errorf("%d pictures for %d layouts, %v", len(files), len(all), err)
	}
	for _, name := range stageNames(all) {
		t.Run(name, func(t *testing.T) {
			f := all[name].draw(t, pool, labeller)
			defer f.Release()
			got, path := toImage(f), filepath.Join("testdata", "golden", name+".png")
			if *update {
				writeImage(t, path, got)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := png.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if got.Bounds() != want.Bounds() {
				t.Fatalf("%v, want %v", got.Bounds(), want.Bounds())
			}
			// Scaling kernels differ between processors by one step, which is two
			// or three in RGB.
			if worst, at := worstBlock(got, want); worst > 6 {
				writePNG(t, "golden-"+name+".png", f)
				t.Errorf("the block at %v differs by %.1f steps on average; MIXDOWN_PICTURES=dir keeps what was drawn", at, worst)
			}
		})
	}
}

func writeImage(t *testing.T, path string, img image.Image) {
	t.Helper()
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// worstBlock returns the largest mean difference of any block, and where.
func worstBlock(a *image.RGBA, b image.Image) (worst float64, at image.Point) {
	r := a.Bounds()
	other := image.NewRGBA(r)
	draw.Draw(other, r, b, b.Bounds().Min, draw.Src)
	for y := 0; y < r.Dy(); y += goldenBlock {
		for x := 0; x < r.Dx(); x += goldenBlock {
			block := image.Rect(x, y, x+goldenBlock, y+goldenBlock).Intersect(r)
			sum := 0
			for py := block.Min.Y; py < block.Max.Y; py++ {
				from, to := a.PixOffset(block.Min.X, py), a.PixOffset(block.Max.X, py)
				for i, v := range a.Pix[from:to] {
					sum += max(int(v)-int(other.Pix[from+i]), int(other.Pix[from+i])-int(v))
				}
			}
			if mean := float64(sum) / float64(3*block.Dx()*block.Dy()); mean > worst {
				worst, at = mean, block.Min
			}
		}
	}
	return worst, at
}
