package policy

import (
	"bytes"
	"testing"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
)

func BenchmarkZZ(b *testing.B) {
	data := []byte(list(200_000, "sorted"))
	report := func(b *testing.B, f func()) {
		spent := cpuTime()
		for b.Loop() {
			f()
		}
		b.ReportMetric(float64((cpuTime()-spent).Microseconds())/1000/float64(b.N)*5, "cpu-ms/M")
	}
	b.Run("index", func(b *testing.B) {
		report(b, func() {
			for d := data; len(d) > 0; {
				d = d[bytes.IndexByte(d, '\n')+1:]
			}
		})
	})
	b.Run("quad", func(b *testing.B) {
		var x addrset.U32
		report(b, func() {
			for d := data; len(d) > 0; {
				q, _ := quad(d)
				x += q
				d = d[bytes.IndexByte(d, '\n')+1:]
			}
		})
		if x == 7 {
			b.Log(x)
		}
	})
	b.Run("quadserial", func(b *testing.B) {
		var x addrset.U32
		report(b, func() {
			for d := data; len(d) > 0; {
				q, n := quad(d)
				x += q
				d = d[n+4:]
			}
		})
		if x == 7 {
			b.Log(x)
		}
	})
	b.Run("range4", func(b *testing.B) {
		var x addrset.U32
		report(b, func() {
			for d := data; len(d) > 0; {
				q, n := range4(d)
				x += q.Hi
				d = d[n+1:]
			}
		})
		if x == 7 {
			b.Log(x)
		}
	})
	b.Run("lines", func(b *testing.B) {
		report(b, func() {
			f := &listFile{name: "l", diags: &diag.List{}}
			f.lines(data, 0)
		})
	})
	b.Run("parse", func(b *testing.B) {
		report(b, func() {
			f := &listFile{name: "l", diags: &diag.List{}}
			f.parse(data)
		})
	})
}
