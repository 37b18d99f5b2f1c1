package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"
)

func example() *Chart {
	text := func(v float64) string { return fmt.Sprint(v) }
	return &Chart{
		Title: "a < b", X: "rules", XText: text, YText: text,
		Panels: []Panel{{Title: "one", Floor: 500, Below: "nothing", Lines: []Line{
			{Name: "flat", Points: []Point{{10, 1000}, {100_000, 1100}}, Strong: true},
			{Name: "linear", Points: []Point{{10, 1000}, {1000, 60_000}}, Color: 1},
			{Name: "none", Color: 2},
		}}},
	}
}

// TestSVG reads a drawing as XML and looks for what must be there.
func TestSVG(t *testing.T) {
	svg := example().SVG()
	d := xml.NewDecoder(bytes.NewReader(svg))
	circles := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 4 {
		t.Errorf("%d points", circles)
	}
	for _, want := range []string{"a &lt; b", ">flat<", ">linear<", ">nothing<", ">100000<", "prefers-color-scheme:dark"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %s in the drawing", want)
		}
	}
	if strings.Contains(string(svg), ">none<") || strings.Contains(string(svg), "NaN") {
		t.Error("a line without points is drawn")
	}
}

// TestSpread keeps labels apart, in order and within the panel.
func TestSpread(t *testing.T) {
	var labels []label
	for _, at := range []float64{top + panelHeight, 120, 121, 122, 300, 90, top + panelHeight - 2} {
		labels = append(labels, label{at: at})
	}
	spread(labels)
	for i, l := range labels {
		if i > 0 && (l.y-labels[i-1].y < lineHeight-1e-9 || l.at < labels[i-1].at) {
			t.Errorf("label %d of %v stands at %v, the one before at %v", i, l.at, l.y, labels[i-1].y)
		}
		if l.y < top || l.y > top+panelHeight+1e-9 {
			t.Errorf("a label at %v", l.y)
		}
	}
}
