package cost_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringwall/daemon/enforce"
	"ringwall/netfilter/nstest"
	"ringwall/rules/policy"
	"ringwall/rules/source"
	"ringwall/rules/workload"
)

// What is measured here is more than packets and loads: whole programs, and benchmarks of other packages, whose figures are taken over.
var programs = flag.String("programs", "", "directory of ringwall and of the other packages' benchmarks, which scripts/bench puts there")

// borrow runs benchmarks of a package so many times each, and takes their figures over.
func (b *bench) borrow(t *testing.T, section, pkg, pattern string, times int) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join(*programs, "bench-"+filepath.Base(pkg)))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", fmt.Sprintf("%dx", times), "-test.timeout", "40m")
	cmd.Dir, cmd.Stderr = pkg, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", pkg, pattern, err, out)
	}
	for line := range strings.Lines(string(out)) {
		b.borrowed(section, line)
	}
}

// borrowed takes over a line of a benchmark: its name, how often it ran, and values with their units.
func (b *bench) borrowed(section, line string) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return
	}
	name := regexp.MustCompile(`-\d+$`).ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
	measures := make(map[string]float64)
	text := ""
	for pair := range slices.Chunk(fields[2:], 2) {
		if v, err := strconv.ParseFloat(pair[0], 64); err == nil && len(pair) == 2 && pair[1] != "ns/op" {
			measures[measureName(pair[1])] = v
			text += fmt.Sprintf("  %s %s", pair[1], pair[0])
		}
	}
	if len(measures) > 0 {
		say("  %-22s%s", name, text)
		b.report.add(result{Section: section, Shape: name, Who: ringwall, Measures: measures})
	}
}

// measureName is a benchmark's unit as the name of a measure: "ours-ms" is ms_ours, "ours/raw" is ours_times_raw.
func measureName(unit string) string {
	if unit == "packets/s" {
		return "packets_a_second"
	}
	if rest, ok := strings.CutSuffix(unit, "-ms"); ok {
		unit = "ms-" + rest
	}
	return strings.ReplaceAll(strings.ReplaceAll(unit, "/", "_times_"), "-", "_")
}

func (b *bench) bulk(t *testing.T) {
	say("\nlists of a million: milliseconds, from the file to enforcement; raw is the kernel's time for the same batch; -cpu is of CPU time")
	b.borrow(t, "bulk", "netfilter/kernel", "^BenchmarkBulk$/^("+pick(b, "addresses", "addresses|prefixes")+")$", pick(b, 1, 5))
	say("\nten lines of a million changed")
	b.borrow(t, "bulk", "netfilter/kernel", "^BenchmarkBulkEdit$/^("+pick(b, "addresses", "addresses|prefixes")+")$", pick(b, 3, 10))
	say("\nmemory with a million, and a ban")
	for _, kind := range []string{"addresses", "prefixes", "addresses6"} {
		t.Run(kind, func(t *testing.T) { b.listed(t, kind) })
	}
}

func (b *bench) reloads(t *testing.T) {
	say("\n10,000 rules committed, against the kernel's time for the same batch and nft's for the same table")
	b.borrow(t, "reload", "netfilter/kernel", "^BenchmarkBulkRules$", pick(b, 2, 5))
	say("\none rule of 10,000 changed: milliseconds until it is enforced; read is the reading in that")
	b.borrow(t, "reload", "netfilter/kernel", "^BenchmarkBulkRule$", pick(b, 2, 5))
	say("\nexplain --stdin, 1,000 rules")
	b.borrow(t, "reload", "cmd/ringwall", "^BenchmarkExplainLines$", 1)
	say("\ncheck --no-lints of 10,000 rules; the daemon with 1,000: milliseconds until they are enforced, CPU and memory when idle")
	for _, shape := range workload.Shapes {
		t.Run(string(shape), func(t *testing.T) { b.program(t, shape) })
	}
}

// program measures Ringwall itself: a check of 10,000 rules, the start with 1,000, and rest.
func (b *bench) program(t *testing.T, shape workload.Shape) {
	ringwallProgram, err := filepath.Abs(filepath.Join(*programs, "bench-ringwall-itself"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(rules int) string {
		name := filepath.Join(dir, fmt.Sprintf("%d.yaml", rules))
		if err := os.WriteFile(name, []byte(workload.Generate(shape, rules, 1).YAML()), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	var check, spent []float64
	large := file(10_000)
	for range pick(b, 1, 5) {
		begun := time.Now()
		cmd := exec.Command(ringwallProgram, "check", "--no-lints", large)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("check: %v\n%.400s", err, out)
		}
		check = append(check, time.Since(begun).Seconds()*1000)
		spent = append(spent, (cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds()*1000)
	}
	start, idle, rest := startDaemon(t, ringwallProgram, file(1000), dir, pick(b, 2*time.Second, 20*time.Second))
	say("  %-5s check %.0f ms (%.0f of CPU), start %.0f ms, idle %.3f per cent of a processor, %.1f MB", shape, quantile(check, 0.5), quantile(spent, 0.5), start, idle, rest)
	b.report.add(result{Section: "reload", Shape: string(shape), Who: ringwall, Measures: map[string]float64{
		"ms_check_10000": quantile(check, 0.5), "ms_check_10000_cpu": quantile(spent, 0.5), "ms_start_1000": start, "percent_cpu_idle": idle, "mb_idle": rest,
	}})
}

// settled is how long a daemon that has started is left alone before it counts as idle.
const settled = 10 * time.Second

// startDaemon starts a daemon in a network of its own, and tells the milliseconds until it has enforced the policy, its share of a
// processor while nothing happens, in per cent, and its memory then, in MB.
func startDaemon(t *testing.T, program, file, dir string, watched time.Duration) (start, idle, rest float64) {
	t.Helper()
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	ready.SetReadDeadline(time.Now().Add(time.Minute))
	cmd := exec.Command(program, "run", "--config", file, "--state-dir", dir, "--socket", filepath.Join(dir, "control"), "--settings", filepath.Join(dir, "none.yaml"))
	if err := os.WriteFile(filepath.Join(dir, "none.yaml"), []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
	var log bytes.Buffer
	cmd.Stderr = &log
	begun := time.Now()
	nstest.New(t).Do(t, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	message := make([]byte, 4096)
	for told := ""; !strings.Contains(told, "READY=1"); {
		n, err := ready.Read(message)
		if err != nil {
			t.Fatalf("the daemon is not ready: %v\n%.400s", err, log.String())
		}
		told = string(message[:n])
	}
	start = time.Since(begun).Seconds() * 1000
	ready.SetReadDeadline(time.Time{})
	go io.Copy(io.Discard, ready) // as a service manager does, until it is closed
	time.Sleep(settled)           // what follows the start: lints, comments, memory that is given back
	before := processTime(t, cmd.Process.Pid)
	time.Sleep(watched)
	idle = 100 * (processTime(t, cmd.Process.Pid) - before).Seconds() / watched.Seconds()
	rest, err = memory(cmd.Process.Pid, "VmRSS:")
	if err != nil {
		t.Fatal(err)
	}
	return start, idle, rest
}

// processTime is the CPU time that a process has taken, from the sum of what the scheduler gave its threads.
func processTime(t *testing.T, pid int) (sum time.Duration) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended meanwhile
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// listVariable names the policy with a list that a process is to enforce instead of running tests.
const listVariable = "RINGWALL_BENCH_LIST"

// tookList is what a list took: milliseconds and MB. Edit is the peak when lines are taken out of it.
type tookList struct{ Ban, Peak, Rest, Edit float64 }

// listPolicy blocks a list and what is banned.
const listPolicy = "version: 1\nfailsafe: {ssh: [198.51.100.0/24]}\nsets:\n  listed: {file: list.txt}\n  banned: {dynamic: true}\nblock: [listed, banned]\n"

// loadList enforces a policy with a list in the network namespace of the process, and bans addresses one by one.
func loadList(file string) (*tookList, error) {
	ctx := context.Background()
	debug.SetGCPercent(policy.GCPercent)
	e, err := enforce.Open(ctx, enforce.Options{State: filepath.Dir(file), Lazy: true})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	apply := func() error {
		opt := e.LoadOptions()
		opt.NoLints, opt.Brief = true, true
		c := enforce.Load(source.OS{}, file, opt)
		if _, err := e.Apply(ctx, c, enforce.Files); err != nil {
			return errors.Join(err, errors.New(c.Problem()))
		}
		return e.Stored(e.Unstored()())
	}
	if err := apply(); err != nil {
		return nil, err
	}
	out := new(tookList)
	if out.Peak, err = memory(os.Getpid(), "VmHWM:"); err != nil {
		return nil, err
	}
	e.Forget()
	debug.FreeOSMemory()
	if out.Rest, err = memory(os.Getpid(), "VmRSS:"); err != nil {
		return nil, err
	}
	const resetPeak = "5"
	if err := os.WriteFile("/proc/self/clear_refs", []byte(resetPeak), 0); err != nil {
		return nil, err
	}
	if err := exec.Command("sed", "-i", "1~100000d", filepath.Join(filepath.Dir(file), "list.txt")).Run(); err != nil {
		return nil, err
	}
	if err := apply(); err != nil {
		return nil, err
	}
	if out.Edit, err = memory(os.Getpid(), "VmHWM:"); err != nil {
		return nil, err
	}
	var bans []float64
	for i := range 21 {
		begun := time.Now()
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)
		if _, err := e.Ban(ctx, enforce.BanRequest{Set: "banned", Prefixes: []netip.Prefix{address}}); err != nil {
			return nil, err
		}
		bans = append(bans, time.Since(begun).Seconds()*1000)
	}
	out.Ban = quantile(bans, 0.5)
	runtime.KeepAlive(e)
	return out, nil
}

// listed measures what a process takes that enforces a list of a million.
func (b *bench) listed(t *testing.T, kind string) {
	dir := t.TempDir()
	var list bytes.Buffer
	bits := map[string]int{"addresses": 32, "prefixes": 24, "addresses6": 32}[kind]
	for _, r := range randomPrefixes(1_000_000, bits).V4.Ranges() {
		p := netip.PrefixFrom(r.Lo.Addr(), bits)
		if kind == "addresses6" {
			a := r.Lo.Addr().As4()
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0xd, 0xb8, a[0], a[1], a[2], a[3], 0xa1, a[3], a[2], 0xb2, 0xc3, a[1], a[0], 0xd4}), 128)
		}
		if p.IsSingleIP() {
			fmt.Fprintln(&list, p.Addr())
		} else {
			fmt.Fprintln(&list, p)
		}
	}
	file := filepath.Join(dir, "policy.yaml")
	if err := errors.Join(os.WriteFile(file, []byte(listPolicy), 0o644), os.WriteFile(filepath.Join(dir, "list.txt"), list.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{NS: nstest.New(t)}
	var none *cgroup
	out, ok := none.run(t, h, []string{listVariable + "=" + file}, self)
	var took tookList
	if !ok {
		t.Fatalf("a list of a million %s is not enforced in %s", kind, patience)
	}
	if err := json.Unmarshal([]byte(out), &took); err != nil {
		t.Fatal(err)
	}
	size := float64(list.Len()) / (1 << 20)
	say("  %-10s file %.1f MB, peak %.0f MB, of an edit %.0f MB, at rest %.0f MB, a ban %.2f ms", kind, size, took.Peak, took.Edit, took.Rest, took.Ban)
	b.report.add(result{Section: "bulk", Shape: kind, Who: ringwall, Measures: map[string]float64{
		"mb_file": size, "mb_peak": took.Peak, "mb_edit": took.Edit, "mb_rest": took.Rest, "ms_ban": took.Ban,
	}})
}
