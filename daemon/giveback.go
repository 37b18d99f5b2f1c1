package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// quietAfter is how long nobody must have asked for anything before the memory that this took is given back.
	quietAfter = 5 * time.Second
	// muchHeap is by how many bytes the heap must have grown for a collection to be worth its while.
	muchHeap = 4 << 20
	// largeStart is from how many bytes of heap on what the stored policy took is given back before the files are read.
	largeStart = 64 << 20
)

// giveBack gives the kernel what a load needed and a quiet daemon does not: the free part of the heap, and the program's pages.
func (d *daemon) giveBack() {
	debug.FreeOSMemory()
	d.rest.Store(heap())
	d.dropProgram()
}

// heap is how many bytes of memory the heap has, used or not.
func heap() (sum uint64) {
	parts := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(parts)
	for _, p := range parts {
		sum += p.Value.Uint64()
	}
	return sum
}

// dropProgram drops the program's pages. Where it can't, all that is lost is some memory.
func (d *daemon) dropProgram() {
	if err := dropProgram(); err != nil {
		d.log.Debug("the program's pages stay", "error", err)
	}
}

// mapping is a part of the process's memory, from an address up to another.
type mapping struct{ from, to uintptr }

// dropProgram has the kernel take the pages of the program, most of which only loads and requests use, out of the process's memory. They
// stay in the page cache, and whatever is touched again is there again without any reading.
func dropProgram() error {
	parts, err := programParts()
	if err != nil {
		return err
	}
	for _, m := range parts {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
	}
	return nil
}

// programParts is where the process has its program's code and constants.
func programParts() ([]mapping, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil, err
	}
	defer smaps.Close()
	return constants(smaps, self)
}

// constants is the parts of smaps, as proc(5) has it, that map the file and can't be written. A part of which the process has pages of its
// own is left out: a loader, or a debugger, has written to it, and the file does not have that.
func constants(smaps io.Reader, file string) (parts []mapping, err error) {
	var m mapping
	found := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 3 && fields[0] == "Anonymous:":
			if found && fields[1] == "0" {
				parts = append(parts, m)
			}
			found = false
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"): // 00400000-00b9d000 r-xp 00000000 fe:01 1234 /usr/local/sbin/ringwall
			from, to, _ := strings.Cut(fields[0], "-")
			m.from, err = address(from)
			if err == nil {
				m.to, err = address(to)
			}
			if err != nil {
				return nil, fmt.Errorf("smaps: %w", err)
			}
			found = (fields[1] == "r-xp" || fields[1] == "r--p") && strings.Join(fields[5:], " ") == file
		}
	}
	return parts, lines.Err()
}

func address(hex string) (uintptr, error) {
	n, err := strconv.ParseUint(hex, 16, strconv.IntSize)
	return uintptr(n), err
}
