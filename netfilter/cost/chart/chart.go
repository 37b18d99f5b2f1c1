// Package chart draws lines over two logarithmic axes, as SVG that is readable on light and on dark pages.
package chart

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Chart is panels side by side that share their axes.
type Chart struct {
	Title, Subtitle string
	Panels          []Panel
	X               string // what the axis is
	// XText and YText write the value at a power of ten.
	XText, YText func(float64) string
}

// Panel is lines on common axes.
type Panel struct {
	Title string
	Lines []Line
	Floor float64 // of a dashed line, where it is above 0
	Below string  // what the dashed line is
}

// Line is a named line. Its name stands at its last point.
type Line struct {
	Name   string
	Points []Point // from left to right
	Color  int     // an index of the palette
	Strong bool
}

// Point is a value above 0 at a place above 0.
type Point struct{ X, Y float64 }

// palette is pairs that differ in lightness as well as in hue: on light, on dark.
var palette = [...][2]string{
	{"#c2410c", "#fb923c"}, {"#1d4ed8", "#7aa2ff"}, {"#0f766e", "#4fd1c5"}, {"#7e22ce", "#c89bff"},
	{"#a16207", "#e3c04d"}, {"#be185d", "#ff8fc0"}, {"#475569", "#a9b4c6"}, {"#4d7c0f", "#a8d65c"},
}

// The measures of the drawing, in pixels.
const (
	panelWidth, panelHeight = 330, 300
	left, top               = 62, 96
	labels                  = 116 // room for the names at a panel's right
	bottom                  = 56
	lineHeight              = 15 // of those names
)

// SVG is the drawing.
func (c *Chart) SVG() []byte {
	x, y := c.axes()
	width := left + len(c.Panels)*(panelWidth+labels) + (len(c.Panels)-1)*28 + 6
	height := top + panelHeight + bottom
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="ui-sans-serif, system-ui, sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(c.Title))
	b.WriteString(style())
	fmt.Fprintf(&b, `<rect class="card" x=".5" y=".5" width="%d" height="%d" rx="10"/>`+"\n", width-1, height-1)
	fmt.Fprintf(&b, `<text class="ink" x="20" y="30" font-size="16" font-weight="700">%s</text>`+"\n", html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<text class="dim" x="20" y="50">%s</text>`+"\n", html.EscapeString(c.Subtitle))
	for i, p := range c.Panels {
		c.panel(&b, &p, left+i*(panelWidth+labels+28), x, y)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// style is the colors, by what the page is.
func style() string {
	var light, dark strings.Builder
	for i, pair := range palette {
		fmt.Fprintf(&light, ".l%d{stroke:%s}.t%d{fill:%s}", i, pair[0], i, pair[0])
		fmt.Fprintf(&dark, ".l%d{stroke:%s}.t%d{fill:%s}", i, pair[1], i, pair[1])
	}
	return "<style>.card{fill:#fdfdfb;stroke:#d8d8d2}.ink{fill:#1c2430}.dim{fill:#5a6472}.grid{stroke:#e6e6e0}.floor{stroke:#8a93a0}\n" +
		light.String() + "\n@media (prefers-color-scheme:dark){.card{fill:#14181f;stroke:#303743}.ink{fill:#e8ecf2}.dim{fill:#9aa5b4}.grid{stroke:#272e38}.floor{stroke:#6c7787}\n" +
		dark.String() + "}</style>\n"
}

// axis is from one power of ten to another.
type axis struct{ from, to float64 }

// at is the place of a value from 0 to 1.
func (a axis) at(v float64) float64 { return (math.Log10(v) - a.from) / (a.to - a.from) }

// ticks is the whole powers on it.
func (a axis) ticks() (out []float64) {
	for e := math.Ceil(a.from); e <= a.to; e++ {
		out = append(out, math.Pow(10, e))
	}
	return out
}

// axes hold every point.
func (c *Chart) axes() (x, y axis) {
	var xs, ys []float64
	for _, p := range c.Panels {
		if p.Floor > 0 {
			ys = append(ys, p.Floor)
		}
		for _, l := range p.Lines {
			for _, pt := range l.Points {
				xs, ys = append(xs, pt.X), append(ys, pt.Y)
			}
		}
	}
	return around(xs, 0), around(ys, 0.2)
}

// around is the axis of some values, with room at either end.
func around(values []float64, room float64) axis {
	if len(values) == 0 {
		return axis{0, 1}
	}
	a := axis{math.Log10(slices.Min(values)) - room, math.Log10(slices.Max(values)) + room}
	if a.to-a.from < 1 {
		a.to = a.from + 1
	}
	return a
}

// panel draws one, its axes at left.
func (c *Chart) panel(b *strings.Builder, p *Panel, left int, x, y axis) {
	px := func(v float64) float64 { return float64(left) + x.at(v)*panelWidth }
	py := func(v float64) float64 { return top + (1-y.at(v))*panelHeight }
	fmt.Fprintf(b, `<text class="ink" x="%d" y="%d" font-weight="600">%s</text>`+"\n", left, top-14, html.EscapeString(p.Title))
	for _, v := range y.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fh%d"/><text class="dim" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, py(v), panelWidth, left-7, py(v)+4, html.EscapeString(c.YText(v)))
	}
	for _, v := range x.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %dv%d"/><text class="dim" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			px(v), top, panelHeight, px(v), top+panelHeight+18, html.EscapeString(c.XText(v)))
	}
	fmt.Fprintf(b, `<text class="dim" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+panelWidth/2, top+panelHeight+40, html.EscapeString(c.X))
	var names []label
	if p.Floor > 0 {
		fmt.Fprintf(b, `<path class="floor" d="M%d %.1fh%d" stroke-dasharray="4 4" fill="none"/>`+"\n", left, py(p.Floor), panelWidth)
		names = append(names, label{text: p.Below, class: "dim", x: float64(left + panelWidth), at: py(p.Floor)})
	}
	for _, l := range p.Lines {
		if len(l.Points) == 0 {
			continue
		}
		weight, stroke := "400", "1.8"
		if l.Strong {
			weight, stroke = "700", "3.2"
		}
		var path strings.Builder
		for i, pt := range l.Points {
			path.WriteString([]string{"L", "M"}[b2i(i == 0)] + coordinate(px(pt.X)) + " " + coordinate(py(pt.Y)))
		}
		fmt.Fprintf(b, `<path class="l%d" d="%s" fill="none" stroke-width="%s" stroke-linejoin="round" stroke-linecap="round"/>`+"\n", l.Color, path.String(), stroke)
		for _, pt := range l.Points {
			fmt.Fprintf(b, `<circle class="t%d" cx="%s" cy="%s" r="%s"/>`+"\n", l.Color, coordinate(px(pt.X)), coordinate(py(pt.Y)), []string{"2.4", "3.4"}[b2i(l.Strong)])
		}
		last := l.Points[len(l.Points)-1]
		names = append(names, label{l.Name, fmt.Sprintf("t%d", l.Color), weight, fmt.Sprintf("l%d", l.Color), px(last.X), py(last.Y), 0})
	}
	for _, n := range spread(names) {
		at := float64(left + panelWidth + 12)
		if n.line != "" || n.x < at-12 { // a thread from the last point to the name
			fmt.Fprintf(b, `<path class="%s" d="M%s %sL%s %s" fill="none" stroke-width=".7" stroke-opacity=".55"/>`+"\n",
				n.line, coordinate(n.x+4), coordinate(n.at), coordinate(at-2), coordinate(n.y))
		}
		fmt.Fprintf(b, `<text class="%s" x="%s" y="%s" font-weight="%s">%s</text>`+"\n", n.class, coordinate(at), coordinate(n.y+4), cmp.Or(n.weight, "400"), html.EscapeString(n.text))
	}
}

// label is a name beside a panel.
type label struct {
	text, class, weight, line string
	x, at                     float64 // the point that it names
	y                         float64 // where it stands
}

// spread moves labels apart, each as near to its point as may be.
func spread(labels []label) []label {
	slices.SortStableFunc(labels, func(a, b label) int { return cmp.Compare(a.at, b.at) })
	// Blocks of labels that touch stand around the middle of their points.
	type block struct {
		first, count int
		sum          float64 // of where the first would stand for each label to be at its point
	}
	var blocks []block
	place := func(b block) float64 {
		return min(max(b.sum/float64(b.count), top), top+panelHeight-float64(b.count-1)*lineHeight)
	}
	for i := range labels {
		blocks = append(blocks, block{i, 1, labels[i].at})
		for len(blocks) > 1 {
			a, c := blocks[len(blocks)-2], blocks[len(blocks)-1]
			if place(a)+float64(a.count)*lineHeight <= place(c) {
				break
			}
			joined := block{a.first, a.count + c.count, a.sum + c.sum - float64(c.count*a.count)*lineHeight}
			blocks = append(blocks[:len(blocks)-2], joined)
		}
	}
	for _, b := range blocks {
		for i := range b.count {
			labels[b.first+i].y = place(b) + float64(i)*lineHeight
		}
	}
	return labels
}

// coordinate is a number of pixels with one digit behind the point.
func coordinate(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
