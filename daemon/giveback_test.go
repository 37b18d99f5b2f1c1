package daemon

import (
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestConstants(t *testing.T) {
	t.Parallel()
	part := func(at, perms, file, anonymous string) string {
		return at + " " + perms + " 00001000 fe:01 1234                       " + file + "\nSize:   8 kB\nAnonymous:    " + anonymous + " kB\nVmFlags: rd mr mw me\n"
	}
	smaps := part("00400000-00402000", "r-xp", "/usr/sbin/ring wall", "0") +
		part("00402000-00404000", "r--p", "/usr/sbin/ring wall", "0") +
		part("00404000-00406000", "r--p", "/usr/sbin/ring wall", "4") + // relocated
		part("00406000-00408000", "rw-p", "/usr/sbin/ring wall", "0") +
		part("00408000-0040a000", "rw-p", "", "0") +
		part("0040a000-0040c000", "r--s", "/usr/sbin/ring wall", "0") +
		part("7f0000000000-7f0000002000", "r-xp", "/usr/lib/libc.so.6", "0") +
		part("7fff00000000-7fff00002000", "r-xp", "[vdso]", "0")
	parts, err := constants(strings.NewReader(smaps), "/usr/sbin/ring wall")
	if want := []mapping{{0x400000, 0x402000}, {0x402000, 0x404000}}; err != nil || !slices.Equal(parts, want) {
		t.Errorf("%x, %v; want %x", parts, err, want)
	}
	if parts, err := constants(strings.NewReader("garbage and not any address\n"), "x"); err == nil {
		t.Errorf("garbage: %x", parts)
	}
}

// All of the program is brought into memory, and most of it must be gone after dropProgram, while what runs goes on.
func TestDropProgram(t *testing.T) {
	parts, err := programParts()
	if err != nil || len(parts) == 0 {
		t.Fatalf("the program is %x, %v", parts, err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	var before []byte
	for _, m := range parts {
		content, err := io.ReadAll(io.NewSectionReader(mem, int64(m.from), int64(m.to-m.from)))
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, content...)
	}
	resident := residentFile(t)
	if err := dropProgram(); err != nil {
		t.Fatal(err)
	}
	if after := residentFile(t); after > resident/2 || resident < len(before)>>10 {
		t.Errorf("of %d kB of the program %d were resident, and %d after", len(before)>>10, resident, after)
	}
	for _, m := range parts {
		content := make([]byte, m.to-m.from)
		if _, err := mem.ReadAt(content, int64(m.from)); err != nil || string(content) != string(before[:len(content)]) {
			t.Fatalf("%x is not what it was: %v", m, err)
		}
		before = before[len(content):]
	}
}

// residentFile is how many kB of files the process has in memory, page by page: the sum in /proc/self/status lags behind before Linux 6.2.
func residentFile(t *testing.T) (kb int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	file := false
	for line := range strings.Lines(string(smaps)) {
		switch f := strings.Fields(line); {
		case !strings.HasSuffix(f[0], ":"): // a mapping begins: addresses, rights, offset, device, inode, path
			file = len(f) > 5 && strings.HasPrefix(f[5], "/")
		case file && f[0] == "Rss:":
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			kb += n
		}
	}
	return kb
}
