package cost_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is everything that a run found, as it is written.
type report struct {
	Date     string            `json:"date"`
	Revision string            `json:"revision"`
	Quick    bool              `json:"quick,omitempty"`
	Machine  string            `json:"machine"`
	CPUs     int               `json:"cpus"`
	Kernel   string            `json:"kernel"`
	Versions map[string]string `json:"versions"`
	Results  []result          `json:"results"`
}

// result is the figures of one thing that was measured. The last word of a measure's name is its unit, or what it counts.
type result struct {
	Section  string             `json:"section"`
	Shape    string             `json:"shape,omitempty"`
	Who      string             `json:"who"`
	Rules    int                `json:"rules,omitempty"`
	Measures map[string]float64 `json:"measures"`
}

func newReport(quick bool) *report {
	r := &report{Date: time.Now().UTC().Format(time.DateOnly), Quick: quick, CPUs: runtime.NumCPU(), Machine: processor(), Versions: map[string]string{"go": runtime.Version()}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	}
	if out, err := exec.Command("nft", "--version").Output(); err == nil {
		r.Versions["nft"], _, _ = strings.Cut(string(out), "\n")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				r.Revision = s.Value + r.Revision
			case "vcs.modified":
				if s.Value == "true" {
					r.Revision += " modified"
				}
			}
		}
	}
	if revision := os.Getenv("BENCH_REVISION"); revision != "" {
		r.Revision = revision
	}
	return r
}

// processor is the model's name.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (r *report) versions(tr *tree) {
	for name, version := range tr.versions() {
		r.Versions[name] = version
	}
}

func (r *report) add(x result) {
	for name, v := range x.Measures {
		x.Measures[name] = rounded(v)
	}
	r.Results = append(r.Results, x)
}

// rounded is a figure with no more digits than it is worth.
func rounded(v float64) float64 {
	if v > 100 || v < -100 {
		return float64(int64(v + 0.5))
	}
	return float64(int64(v*100+0.5)) / 100
}

func (r *report) write(file string) error {
	out, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(out, '\n'), 0o644)
}
