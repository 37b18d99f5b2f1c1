package daemon

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ringwall/rules/policy"
)

// TestMemoryOfALargeList holds a daemon with a list of IPv6 addresses, after its load, an edit and a restart, to 150 MB beyond the file's size
// at most and, at rest, to 40 MB and 24 bytes an address.
func TestMemoryOfALargeList(t *testing.T) {
	const addresses, mb = 1_000_000, 1 << 20
	var list []byte
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range uint64(addresses) {
		list = fmt.Appendf(list, "2001:db8:%x:%x:%x:%x:%x:%x\n", i>>16, i&0xffff, rng.Uint32N(1<<16), rng.Uint32N(1<<16), rng.Uint32N(1<<16), rng.Uint32N(1<<16))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "list.txt")
	write := func() {
		t.Helper()
		if err := os.WriteFile(file+".new", list, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write()
	w := build(t, fmt.Sprintf("version: 1\nfailsafe: {ssh: [198.51.100.0/24]}\nsets:\n  listed: {file: %q}\nblock: [listed]\n", file))
	settles := func(p *process, what string, enforced int) {
		t.Helper()
		until(t, what+" is enforced and the daemon at rest", func() (bool, string) {
			rest := statusMB(t, p, "VmRSS")
			return strings.Count(p.text(), "msg=enforced") == enforced && rest < 40+24*addresses/mb, fmt.Sprintf("%d MB", rest)
		})
		if peak := statusMB(t, p, "VmHWM"); peak > 150+len(list)/mb {
			t.Errorf("%s: the peak was %d MB, with a file of %d", what, peak, len(list)/mb)
		}
	}
	env := []string{fmt.Sprintf("GOGC=%d", policy.GCPercent)}
	p := w.spawn(t, program{}, env)
	settles(p, "the list", 1)
	copy(list, "2001:db9:") // the first address becomes the last
	write()
	settles(p, "an edit", 2)
	p.kill()
	p = w.spawn(t, program{}, env)
	settles(p, "a restart", 1)
}

// statusMB is a size of a process, rounded down.
func statusMB(t *testing.T, p *process, what string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\n"+what+":")
	kb, _, _ := strings.Cut(rest, " kB")
	n, err := strconv.Atoi(strings.TrimSpace(kb))
	if err != nil {
		t.Fatal(err)
	}
	return n >> 10
}
