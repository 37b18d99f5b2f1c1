package cost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf is the system call. Pointers in attr are kept alive by the caller.
func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// address is a pointer as attributes of bpf hold it.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// newArea makes a BPF map of one value that is memory shared with the program, and maps it.
func newArea(size int) (fd int, mem []byte, err error) {
	attr := struct{ kind, keySize, valueSize, entries, flags uint32 }{unix.BPF_MAP_TYPE_ARRAY, 4, uint32(size), 1, unix.BPF_F_MMAPABLE}
	fd, err = bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return -1, nil, fmt.Errorf("bpf map of %d bytes: %w", size, err)
	}
	mem, err = unix.Mmap(fd, 0, (size+4095)&^4095, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return fd, mem, nil
}

// asm is a BPF program in the making.
type asm []byte

// op adds an instruction.
func (a *asm) op(code byte, dst, src byte, off int16, imm int32) {
	*a = append(*a, code, dst|src<<4)
	*a = binary.NativeEndian.AppendUint16(*a, uint16(off))
	*a = binary.NativeEndian.AppendUint32(*a, uint32(imm))
}

// The instructions that are needed, by code: class, size or operation, mode or source.
const (
	loadW    = unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM
	loadH    = unix.BPF_LDX | unix.BPF_H | unix.BPF_MEM
	loadDW   = unix.BPF_LDX | unix.BPF_DW | unix.BPF_MEM
	storeW   = unix.BPF_STX | unix.BPF_W | unix.BPF_MEM
	storeH   = unix.BPF_STX | unix.BPF_H | unix.BPF_MEM
	storeDW  = unix.BPF_STX | unix.BPF_DW | unix.BPF_MEM
	move     = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	moveImm  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	add      = unix.BPF_ALU64 | unix.BPF_ADD | unix.BPF_X
	addImm   = unix.BPF_ALU64 | unix.BPF_ADD | unix.BPF_K
	timesImm = unix.BPF_ALU64 | unix.BPF_MUL | unix.BPF_K
	ifLess   = unix.BPF_JMP | unix.BPF_JLT | unix.BPF_X
	ifAtMost = unix.BPF_JMP | unix.BPF_JLE | unix.BPF_X
	ifLessK  = unix.BPF_JMP | unix.BPF_JLT | unix.BPF_K
	exit     = unix.BPF_JMP | unix.BPF_EXIT
	loadImm  = unix.BPF_LD | unix.BPF_DW | unix.BPF_IMM
)

// What an XDP program returns.
const (
	xdpDrop = 1
	xdpPass = 2
)

func (a *asm) leave(with int32) {
	a.op(moveImm, 0, 0, 0, with)
	a.op(exit, 0, 0, 0, 0)
}

// writer is the program that writes the next frame of the area's table over whatever it is given, and passes it.
func writer(area, frames int) asm {
	var a asm
	a.op(loadImm, 6, unix.BPF_PSEUDO_MAP_VALUE, 0, int32(area))
	a.op(0, 0, 0, 0, 0)
	// r2 is the frame's number; the next is one more, or the first of the window.
	a.op(loadW, 2, 6, atNext, 0)
	a.op(move, 3, 2, 0, 0)
	a.op(addImm, 3, 0, 0, 1)
	a.op(loadW, 4, 6, atEnd, 0)
	a.op(ifLess, 3, 4, 1, 0)
	a.op(loadW, 3, 6, atFirst, 0)
	a.op(storeW, 6, 3, atNext, 0)
	a.op(ifLessK, 2, 0, 2, int32(frames))
	a.leave(xdpDrop)
	a.op(timesImm, 2, 0, 0, stride)
	a.op(add, 6, 2, 0, 0)
	// r4 is where the packet begins.
	a.op(loadW, 4, 1, 0, 0)
	a.op(loadW, 5, 1, 4, 0)
	a.op(move, 3, 4, 0, 0)
	a.op(addImm, 3, 0, 0, frameBytes)
	a.op(ifAtMost, 3, 5, 2, 0)
	a.leave(xdpDrop)
	at := int16(0)
	for ; at+8 <= frameBytes; at += 8 {
		a.op(loadDW, 3, 6, atFrames+at, 0)
		a.op(storeDW, 4, 3, at, 0)
	}
	a.op(loadW, 3, 6, atFrames+at, 0)
	a.op(storeW, 4, 3, at, 0)
	a.op(loadH, 3, 6, atFrames+at+4, 0)
	a.op(storeH, 4, 3, at+4, 0)
	a.leave(xdpPass)
	return a
}

// load has the kernel take an XDP program.
func (a asm) load() (fd int, err error) {
	license, log := []byte("GPL\x00"), make([]byte, 1<<16)
	attr := struct {
		kind, count     uint32
		program, terms  uint64
		level, logSize  uint32
		log             uint64
		version, flags  uint32
		name            [16]byte
		iface, attachAs uint32
	}{kind: unix.BPF_PROG_TYPE_XDP, count: uint32(len(a) / 8), program: address(a), terms: address(license),
		level: 1, logSize: uint32(len(log)), log: address(log), attachAs: unix.BPF_XDP}
	for {
		fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	runtime.KeepAlive(license)
	if err != nil {
		why, _, _ := strings.Cut(string(log), "\x00")
		return -1, fmt.Errorf("bpf program: %w %s", err, why)
	}
	return fd, nil
}

// attach links a program to an interface until the descriptor is closed.
func attach(program, iface int) (fd int, err error) {
	attr := struct{ program, iface, as, flags uint32 }{uint32(program), uint32(iface), unix.BPF_XDP, 0}
	return bpf(unix.BPF_LINK_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// run has the kernel make so many frames from a template by the program, as if an interface had received them.
func run(program int, template []byte, iface, count int) error {
	const batch = 64             // frames handed on at once, as of a network card
	context := make([]byte, 6*4) // xdp_md
	binary.NativeEndian.PutUint32(context[4:], uint32(len(template)))
	binary.NativeEndian.PutUint32(context[12:], uint32(iface))
	attr := struct {
		program, result       uint32
		inSize, outSize       uint32
		in, out               uint64
		repeat, duration      uint32
		ctxInSize, ctxOutSize uint32
		ctxIn, ctxOut         uint64
		flags, cpu, batch     uint32
		_                     uint32
	}{program: uint32(program), inSize: uint32(len(template)), in: address(template), repeat: uint32(count),
		ctxInSize: uint32(len(context)), ctxIn: address(context), flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, batch: batch}
	_, err := bpf(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(context)
	runtime.KeepAlive(template)
	return err
}
