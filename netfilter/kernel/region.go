package kernel

import "golang.org/x/sys/unix"

// largeBatch is from how many bytes on a batch is built outside of the heap: in pages of two megabytes, which the kernel clears
// many times faster than small ones, and which are given back as soon as the batch is sent.
const largeBatch = 4 << 20

// region is memory that the garbage collector knows nothing of.
type region []byte

// newRegion is a region of at least so many bytes, none where there is no memory.
func newRegion(size int) region {
	const huge = 2 << 20
	mem, err := unix.Mmap(-1, 0, (size+huge-1)&^(huge-1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil
	}
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE) // or else with small pages
	return mem
}

// twice is the region with twice the room, at another place; r can't be used any more then. Where there is no memory it is none, and r stays.
func (r region) twice() region {
	mem, err := unix.Mremap(r, 2*len(r), unix.MREMAP_MAYMOVE)
	if err != nil {
		return nil
	}
	return mem
}

// free gives the memory back. Nobody may use it any more.
func (r region) free() {
	if r != nil {
		_ = unix.Munmap(r) // it fails for what newRegion did not return
	}
}
