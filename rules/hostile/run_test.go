package hostile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// The bounds of one load: what may be used beyond what the process had before, and the time.
const (
	baseMemory    = 64 << 20
	memoryPerByte = 40 // of what was read
	mostTime      = 2 * time.Second
)

// entryVariable names the policy that a process is to load instead of running tests.
const entryVariable = "RINGWALL_TEST_HOSTILE"

// TestMain makes a process of its own for each measured load.
func TestMain(m *testing.M) {
	if entry := os.Getenv(entryVariable); entry != "" {
		if err := json.NewEncoder(os.Stdout).Encode(load(entry)); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// outcome is what one load came to.
type outcome struct {
	Accepted bool          // a policy came of it
	Findings []finding     // all of them
	Read     int           // bytes of all files
	Memory   int           // bytes: the peak of the process beyond what it had before
	Time     time.Duration // as the clock has it
	CPU      time.Duration // of all threads together
	Output   []byte        // what the printer wrote
}

// finding is a diagnostic as far as it is looked at.
type finding struct {
	Code      string
	Error     bool
	Misplaced string // what is wrong with its place
	Message   string
}

// limit is the memory that the load may have taken.
func (o *outcome) limit() int { return baseMemory + memoryPerByte*o.Read }

// took is the time that the load takes on a machine with nothing else to do: where others run, the clock counts them,
// and the processor's time does not.
func (o *outcome) took() time.Duration { return min(o.Time, o.CPU) }

// String is the outcome as a line of a table.
func (o *outcome) String() string {
	code := "accepted"
	for _, f := range o.Findings {
		if f.Error {
			code = f.Code
			break
		}
	}
	return fmt.Sprintf("%10d bytes %5d MB of %5d MB %6.2f s (cpu %5.2f s) %5d findings %s", o.Read, o.Memory>>20, o.limit()>>20,
		o.Time.Seconds(), o.CPU.Seconds(), len(o.Findings), code)
}

// load takes a policy the way of a user's file, and measures it.
func load(entry string) *outcome {
	o := &outcome{}
	debug.SetGCPercent(policy.GCPercent)
	runtime.GC()
	before := resident("VmRSS")
	// From here on VmHWM is the peak of what follows (proc_pid_clear_refs(5)).
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		panic(err)
	}
	start, cpu := time.Now(), processor()
	rec := source.NewRecorder(source.OS{})
	p, diags := policy.Load(rec, entry, policy.Options{})
	var out bytes.Buffer
	if err := diag.Print(&out, diags, rec.Bundle(), diag.Style{}); err != nil {
		panic(err)
	}
	o.Time, o.CPU = time.Since(start), processor()-cpu
	o.Memory = resident("VmHWM") - before
	o.Accepted, o.Output = p != nil, out.Bytes()
	for _, c := range rec.Bundle().Files {
		o.Read += len(c.Data)
	}
	where := places{entry: entry, from: rec.Bundle(), files: map[string][]int{}}
	for _, d := range diags {
		o.Findings = append(o.Findings, finding{d.Code, d.Severity == diag.Error, where.misplaced(d), d.String()})
	}
	return o
}

// resident reads a size of this process, in bytes.
func resident(name string) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		if _, err := fmt.Sscanf(line, name+": %d kB", &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	panic("no " + name + " in /proc/self/status")
}

// processor is the time that processors have spent on this process.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measured loads a policy in a process of its own.
func measured(t *testing.T, entry string) *outcome {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Dir = filepath.Dir(entry)
	cmd.Env = append(os.Environ(), entryVariable+"="+filepath.Base(entry))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	data, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %.2000s", err, stderr.String())
	}
	o := new(outcome)
	if err := json.Unmarshal(data, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// check fails the test where a load took too much, was accepted in part, or said something without a place or with
// characters that a terminal acts on.
func (o *outcome) check(t *testing.T) {
	t.Helper()
	if o.Memory > o.limit() {
		t.Errorf("%d MB, at most %d MB may be used", o.Memory>>20, o.limit()>>20)
	}
	if o.took() > mostTime {
		t.Errorf("it took %v", o.took())
	}
	errors := 0
	for _, f := range o.Findings {
		if f.Error {
			errors++
		}
		if f.Misplaced != "" {
			t.Errorf("%s: %s", f.Misplaced, f.Message)
		}
	}
	if o.Accepted != (errors == 0) {
		t.Errorf("accepted: %v, with %d errors", o.Accepted, errors)
	}
	if i := bytes.IndexFunc(o.Output, unfit); i >= 0 {
		t.Errorf("the output has %q", o.Output[max(0, i-20):min(len(o.Output), i+20)])
	}
}
