package cost_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/cost/chart"
)

// plot draws what the first packet of a connection costs, nil where that was not measured.
func (r *report) plot() []byte {
	c := &chart.Chart{
		Title:    "What the first packet of a connection costs",
		Subtitle: fmt.Sprintf("CPU time against the number of rules, one run; %s, Linux %s, %s", r.Machine, r.Kernel, r.Date),
		X:        "rules", XText: thousands, YText: duration,
	}
	for _, p := range []struct{ section, title string }{
		{"host", "Host policies: services for addresses"}, {"mixed", "Mixed ordered policies, the costliest family"},
	} {
		if panel := r.panel(p.section, p.title); len(panel.Lines) > 0 {
			c.Panels = append(c.Panels, panel)
		}
	}
	if len(c.Panels) == 0 {
		return nil
	}
	return c.SVG()
}

// panel is the lines of a section: of each rival at each size, the costliest shape.
func (r *report) panel(section, title string) chart.Panel {
	p := chart.Panel{Title: title, Below: "no rules"}
	all := []string{ringwall, nftMap, nftBest, nftWritten, iptables, ufw, firewalld}
	for color, who := range all {
		line := chart.Line{Name: who, Color: color, Strong: who == ringwall}
		for _, x := range r.Results {
			if x.Section != section || x.Who != who {
				continue
			}
			pt := chart.Point{X: float64(x.Rules), Y: x.Measures["ns"]}
			if i := slices.IndexFunc(line.Points, func(p chart.Point) bool { return p.X == pt.X }); i < 0 {
				line.Points = append(line.Points, pt)
			} else {
				line.Points[i].Y = max(line.Points[i].Y, pt.Y)
			}
		}
		if len(line.Points) > 0 {
			p.Lines = append(p.Lines, line)
		}
	}
	for _, x := range r.Results {
		if x.Section == section && x.Who == bare {
			p.Floor = max(p.Floor, x.Measures["ns"])
		}
	}
	return p
}

// thousands writes a whole number with commas.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// duration writes nanoseconds.
func duration(ns float64) string {
	text := time.Duration(ns).String()
	unit := strings.TrimLeft(text, "0123456789")
	return strings.TrimSuffix(text, unit) + " " + unit
}

// TestPlot draws the report of a run with two families, of which the costlier counts.
func TestPlot(t *testing.T) {
	r := &report{Results: []result{
		{Section: "mixed", Shape: "acl", Who: bare, Measures: map[string]float64{"ns": 500}},
		{Section: "mixed", Shape: "acl", Who: ringwall, Rules: 10, Measures: map[string]float64{"ns": 900}},
		{Section: "mixed", Shape: "acl", Who: ringwall, Rules: 10_000, Measures: map[string]float64{"ns": 1000}},
		{Section: "mixed", Shape: "fw", Who: ringwall, Rules: 10_000, Measures: map[string]float64{"ns": 1500}},
	}}
	p := r.panel("mixed", "")
	if p.Floor != 500 || len(p.Lines) != 1 || len(p.Lines[0].Points) != 2 || p.Lines[0].Points[1] != (chart.Point{X: 10_000, Y: 1500}) {
		t.Errorf("%+v", p)
	}
	if svg := string(r.plot()); !strings.Contains(svg, ">10,000<") || !strings.Contains(svg, ">Ringwall<") {
		t.Error("the plot lacks an axis or a name")
	}
	if (&report{}).plot() != nil {
		t.Error("a plot of nothing")
	}
}
