package cost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// loadVariable names the policy that a process is to enforce instead of running tests: "SHAPE RULES".
const loadVariable = "RINGWALL_BENCH_LOAD"

// TestMain makes a process of its own for each measured load, so that its memory can be told.
func TestMain(m *testing.M) {
	var took any
	var err error
	switch spec, file := os.Getenv(loadVariable), os.Getenv(listVariable); {
	case spec != "":
		took, err = load(spec)
	case file != "":
		took, err = loadList(file)
	default:
		os.Exit(m.Run())
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(took)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// took is what one load took, times in milliseconds.
type took struct {
	Compile, Verify, Plan, Commit float64
	Peak                          float64 // MB of resident memory, beyond what the process had with the policy in memory
	Kernel                        float64 // MB that the kernel keeps
}

// load enforces a workload in the network namespace of the process.
func load(spec string) (*took, error) {
	shape, rules, _ := strings.Cut(spec, " ")
	n, err := strconv.Atoi(rules)
	if err != nil {
		return nil, err
	}
	p := workload.Generate(workload.Shape(shape), n, 1).Policy()
	debug.SetGCPercent(policy.GCPercent)
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak is now
		return nil, err
	}
	before, err := peak()
	if err != nil {
		return nil, err
	}
	out, ctx := new(took), context.Background()
	at := time.Now()
	lap := func(to *float64) {
		now := time.Now()
		*to = now.Sub(at).Seconds() * 1000
		at = now
	}
	rs, err := compile.Compile(p, compile.Options{})
	if err != nil {
		return nil, err
	}
	lap(&out.Compile)
	if _, err := compile.Verify(p, rs); err != nil {
		return nil, err
	}
	lap(&out.Verify)
	c, err := kernel.Dial(kernel.Options{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	change, err := c.Plan(ctx, rs)
	if err != nil {
		return nil, err
	}
	lap(&out.Plan)
	if err := c.Commit(ctx, change); err != nil {
		return nil, err
	}
	lap(&out.Commit)
	after, err := peak()
	out.Peak = after - before
	return out, err
}

// peak is the most memory of this process that was resident, in MB.
func peak() (float64, error) { return memory(os.Getpid(), "VmHWM:") }

// memory is a line of what the kernel says of a process's memory, in MB.
func memory(pid int, name string) (float64, error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// cgroup is a control group, whose kernel memory is what its processes have had the kernel keep: rules, sets and chains are
// charged to whoever loads them, and stay so when it has ended.
type cgroup struct{ dir, file string }

// newCgroup makes one, under the first or the second version of control groups; nil where neither can be.
func newCgroup(t testing.TB, name string) *cgroup {
	for _, c := range []cgroup{{"/sys/fs/cgroup/memory", "memory.kmem.usage_in_bytes"}, {"/sys/fs/cgroup", "memory.stat"}} {
		c.dir = filepath.Join(c.dir, fmt.Sprintf("ringwall-bench-%d-%s", os.Getpid(), name))
		if os.Mkdir(c.dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(c.dir, c.file)); err == nil {
			t.Cleanup(func() { os.Remove(c.dir) })
			return &c
		}
		os.Remove(c.dir)
	}
	return nil
}

// patience is how long a load may take.
const patience = 3 * time.Minute

// run runs a command in the group, in a host's network; false where it was not done in time.
func (c *cgroup) run(t testing.TB, h *host, env []string, name string, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	if c != nil {
		cmd = exec.CommandContext(ctx, "sh", append([]string{"-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(c.dir, "cgroup.procs"), name}, args...)...)
	}
	cmd.Env = append(os.Environ(), env...)
	var out []byte
	var err error
	h.Do(t, func() { out, err = cmd.Output() })
	if ctx.Err() != nil {
		return "", false
	}
	if err != nil {
		if failed, ok := err.(*exec.ExitError); ok {
			t.Fatalf("%s: %v %.400s", name, err, failed.Stderr)
		}
		t.Fatal(err)
	}
	return string(out), true
}

// kept is the kernel memory that the group is charged with, in MB.
func (c *cgroup) kept(t testing.TB) float64 {
	t.Helper()
	if c == nil {
		return 0
	}
	time.Sleep(200 * time.Millisecond) // what ended processes had is given back a little later
	text, err := os.ReadFile(filepath.Join(c.dir, c.file))
	if err != nil {
		t.Fatal(err)
	}
	value := strings.TrimSpace(string(text))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "kernel "); ok {
			value = strings.TrimSpace(rest)
		}
	}
	bytes, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes / (1 << 20)
}

// loads measures loads in turn: Ringwall's, and nft's of the linear equivalent.
func (b *bench) loads(t *testing.T) {
	type size struct {
		shape         workload.Shape
		rules, rounds int
	}
	sizes := []size{{workload.Host, 10_000, 3}, {workload.FW, 10_000, 1}}
	if !b.quick {
		sizes = []size{{workload.Host, 10_000, 5}, {workload.ACL, 10_000, 3}, {workload.FW, 10_000, 3}, {workload.IPC, 10_000, 3}, {workload.Six, 10_000, 3},
			{workload.Host, 100_000, 1}, {workload.ACL, 100_000, 1}, {workload.FW, 100_000, 1}, {workload.IPC, 100_000, 1}, {workload.Six, 100_000, 1}}
	}
	say("\nmedians; milliseconds, MB; plan is the look at what the kernel has, peak is beyond the process with the policy in memory")
	say("  %-12s %8s %8s %8s %8s %8s %8s | %8s %8s", "", "compile", "verify", "plan", "commit", "peak", "kernel", "nft -f", "kernel")
	for _, s := range sizes {
		t.Run(fmt.Sprintf("%s-%d", s.shape, s.rules), func(t *testing.T) { b.loadOf(t, s.shape, s.rules, s.rounds) })
	}
}

// loadOf measures loads of one policy, so many times.
func (b *bench) loadOf(t *testing.T, shape workload.Shape, count, rounds int) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%s-%d", shape, count)
	rules := filepath.Join(t.TempDir(), "rules.nft")
	if err := os.WriteFile(rules, []byte(writtenRules(workload.Generate(shape, count, 1))), 0o644); err != nil {
		t.Fatal(err)
	}
	samples := make(map[string][]float64)
	for i := range rounds {
		h := &host{NS: nstest.New(t)}
		c := newCgroup(t, fmt.Sprintf("%s-%d", name, i))
		c.run(t, h, nil, "true")
		before := c.kept(t)
		out, ok := c.run(t, h, []string{loadVariable + "=" + string(shape) + " " + fmt.Sprint(count)}, self)
		if !ok {
			say("  %-12s not done in %s", name, patience)
			b.report.add(result{Section: "load", Shape: string(shape), Who: ringwall, Rules: count,
				Measures: map[string]float64{"ms_without_end": float64(patience.Milliseconds())}})
			return
		}
		var one took
		if err := json.Unmarshal([]byte(out), &one); err != nil {
			t.Fatal(err)
		}
		one.Kernel = c.kept(t) - before
		for name, v := range map[string]float64{"ms_compile": one.Compile, "ms_verify": one.Verify, "ms_plan": one.Plan, "ms_commit": one.Commit,
			"mb_peak": one.Peak, "mb_kernel": one.Kernel} {
			samples[name] = append(samples[name], v)
		}
		h = &host{NS: nstest.New(t)}
		c = newCgroup(t, fmt.Sprintf("%s-%d-nft", name, i))
		c.run(t, h, nil, "true")
		before = c.kept(t)
		begun := time.Now()
		if _, ok := c.run(t, h, nil, "nft", "-f", rules); !ok {
			t.Fatalf("nft -f is not done in %s", patience)
		}
		samples["ms_nft"] = append(samples["ms_nft"], time.Since(begun).Seconds()*1000)
		samples["mb_kernel_nft"] = append(samples["mb_kernel_nft"], c.kept(t)-before)
	}
	measures := make(map[string]float64)
	for name, list := range samples {
		measures[name] = quantile(list, 0.5)
	}
	m := func(name string) float64 { return measures[name] }
	say("  %-12s %8.0f %8.0f %8.0f %8.0f %8.0f %8.1f | %8.0f %8.1f", name, m("ms_compile"), m("ms_verify"), m("ms_plan"), m("ms_commit"),
		m("mb_peak"), m("mb_kernel"), m("ms_nft"), m("mb_kernel_nft"))
	b.report.add(result{Section: "load", Shape: string(shape), Who: ringwall, Rules: count, Measures: measures})
}
